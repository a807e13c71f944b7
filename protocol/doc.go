// Package protocol encodes and decodes the worker protocol, the language of the Nix daemon. It
// uses no socket and no clock, so that clients, servers, monitors and fuzzers can share it.
//
// # A conversation
//
//	client                                     daemon
//	magic, version                         →
//	                                       ←   magic, version
//	features (from 1.38), two zeros        →
//	                                       ←   features (from 1.38), Nix's version (from 1.33),
//	                                           trust (from 1.35), messages, Last
//	operation number, request              →
//	                                       ←   messages, Last, reply
//	                                           or messages, Error
//	…
//
// Both sides use the lower of their versions ([Version]) and the features that both have
// ([Features]). Together with the store directory, which the protocol does not mention, these
// are the [Params] of all encoding and decoding.
//
// An operation ([Op]) is a number. [Lookup] returns its name, its first version, the feature
// that it needs, its users and the body of its request. The table in table.go is the only place
// where this is defined. Requests and replies are plain structs ([Request], [Reply]). A method
// of each lists its fields in the order of the wire, once for all purposes: encoding, decoding,
// and writing and reading traces. So these cannot diverge.
//
// Between request and reply the daemon sends messages ([Message]): log lines, activities,
// requests for more bytes of an upload, and at the end Last or Error. The reply follows after
// Last. Nothing follows after Error.
//
// If the other side does not support an operation or a field, the call fails with an
// [*UnsupportedError] before anything is sent. [Params.NeedsTrust] tells whether a daemon would
// refuse a request of an untrusted user.
//
// # A trace
//
// [Params.TraceRequest], [Params.TraceReply] and [Params.TraceMessage] show a value on one
// line, for people. [Params.ParseTraceRequest] and similar functions read such a line. It
// consists of a name and fields:
//
//	line  = name { " " field }
//	field = [ label "=" ] value        an element of a list with a single value has no label
//	value = word | quoted | list
//	list  = "[" [ element { ", " element } ] "]"
//	element = field { " " field }
//
// A quoted text has the syntax of Go. A word is ASCII without spaces, brackets, parentheses,
// commas or quotes. [TraceData] shows the bodies of requests and replies.
//
// # Limits
//
// A string has at most [MaxString] bytes, a store path [MaxPath], a list [MaxList] elements.
// Memory is allocated for received bytes, never for an announced length.
//
// Sources: src/libstore/worker-protocol.cc, worker-protocol-connection.cc and daemon.cc in Nix.
package protocol
