import HTTPTypes
import Holdfast

/// What a route answers.
struct Answer: Sendable {
    enum Body: Sendable {
        case none
        case json(JSONValue, mediaType: String)
        case text(String, mediaType: String)
    }

    var status: HTTPResponse.Status
    var headers: HTTPFields
    var body: Body

    init(_ status: HTTPResponse.Status = .ok, body: Body = .none, headers: HTTPFields = [:]) {
        self.status = status
        self.body = body
        self.headers = headers
    }

    static func json(_ json: JSONValue, _ status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]) -> Answer {
        Answer(status, body: .json(json, mediaType: "application/json"), headers: headers)
    }

    static let noContent = Answer(.noContent)

    /// The body as it is sent, with its media type; nil for none.
    var content: (bytes: [UInt8], mediaType: String)? {
        switch body {
        case .none: nil
        case .json(let json, let mediaType): (Array(json.answerBytes), mediaType)
        case .text(let text, let mediaType): (Array(text.utf8), mediaType)
        }
    }
}
