// Package activity knows what a Nix daemon tells while it works, and how it says
// that it failed.
//
// What it tells are [Event] values of four kinds:
//
//   - a [Log] is a line for people;
//   - a [Start] begins an activity: a build, a download, a copy. It has a number, the
//     number of the activity that it is part of, a type, and fields whose meaning
//     depends on the type;
//   - a [Result] is something that an activity has come to: a line of a build log, a
//     phase, progress;
//   - a [Stop] ends an activity.
//
// Whoever wants them puts a [Handler] into the context of the calls that cause them
// ([WithHandler], as net/http/httptrace does), so that no method grows a parameter
// and whatever stands between passes them on.
//
// An [Error] is the daemon's own: a level, a message, traces. It came over the wire
// whole and says nothing about the connection, which may well go on.
//
// Sources: src/libutil/include/nix/util/logging.hh and error.hh in Nix.
package activity
