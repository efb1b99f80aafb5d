import Foundation

extension HoldfastConfiguration.Server {
    /// The folder of the API key that a server makes for itself: the data folder, or where there is none the user's configuration
    /// folder (`$XDG_CONFIG_HOME/holdfast`, else `~/.config/holdfast`). The command line looks for the key in the same place.
    public func keyFolder(environment: [String: String]) -> String {
        if let dataFolder { return dataFolder }
        if let base = environment["XDG_CONFIG_HOME"], base.hasPrefix("/") { return "\(base)/holdfast" }
        let home =
            environment["HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? FileManager.default.homeDirectoryForCurrentUser.path
        return "\(home)/.config/holdfast"
    }
}
