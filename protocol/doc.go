// Package protocol knows the worker protocol, the language of the Nix daemon: it turns
// bytes into values and back, and nothing else. It knows of no socket and no clock, so
// that client, server, monitor and fuzzers can share it.
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
// Both go on with the lower of the two versions ([Version]) and the features that both
// have ([Features]); with the store directory, which the protocol does not mention, they
// make up the [Params] that every value is encoded and decoded by.
//
// An operation ([Op]) is a number. [Lookup] tells its name, the version it came with, the
// feature it needs, who may ask and what follows its request: the table in table.go is the
// one place where this is written. Its request and its reply are plain structs ([Request],
// [Reply]). Each has one method that lists its fields in the order of the wire, for all
// directions at once, so that what is written is what is read, and is what a trace shows and
// is read from.
//
// Between request and reply the daemon sends messages ([Message]): log lines, activities,
// requests for more bytes of an upload, and at the end either Last, after which the
// reply comes, or Error, after which there is none.
//
// What the other side does not know, an operation or a field, is an [*UnsupportedError]
// before a byte of it is sent. What a daemon refuses to users whom it does not trust is
// told by [Params.NeedsTrust].
//
// # A trace
//
// [Params.TraceRequest], [Params.TraceReply] and [Params.TraceMessage] show a value on one
// line, for people, and [Params.ParseTraceRequest] and its like read such a line again. It is
// a name and fields:
//
//	line  = name { " " field }
//	field = [ label "=" ] value        an element of a list that is one value has no label
//	value = word | quoted | list
//	list  = "[" [ element { ", " element } ] "]"
//	element = field { " " field }
//
// A quoted text is as in Go. A word has no spaces, no brackets, parentheses, commas or quotes,
// and only ASCII. What follows a request or a reply is shown by [TraceData].
//
// # Limits
//
// A string has at most [MaxString] bytes, a store path [MaxPath], a list [MaxList]
// elements. Memory is allocated as bytes come, never because a number promised them.
//
// Sources: src/libstore/worker-protocol.cc, worker-protocol-connection.cc and daemon.cc in
// Nix.
package protocol
