// Package activity defines the events that a Nix daemon reports while it works, and the
// error that it returns when an operation fails.
//
// There are four kinds of [Event]:
//
//   - a [Log] is a line for people;
//   - a [Start] starts an activity, such as a build, a download or a copy. It has an ID,
//     the ID of the parent activity, a type, and fields whose meaning depends on the type;
//   - a [Result] reports a result of an activity: a line of a build log, a phase, progress;
//   - a [Stop] ends an activity.
//
// To receive events, put a [Handler] into the context of a call with [WithHandler], as
// with net/http/httptrace. No method needs a parameter for it, and wrappers of a store
// pass it on with the context.
//
// An [Error] is an error of the daemon: a level, a message and traces. It was received
// completely, so the connection may still be usable.
//
// [AppendJSON] writes an event as 'nix --log-format internal-json' does, and [ParseJSON] reads it.
//
// Sources: src/libutil/include/nix/util/logging.hh and error.hh in Nix.
package activity
