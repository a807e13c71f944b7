// Package live shows on a terminal what a store is doing: what is built, fetched and
// copied, since when, in which phase, its last log line; how much is done and how much
// is to come; at the end what failed, with the last lines of its log.
//
// All that it knows it learns from activity events and, where the command knows what it
// is about to build, from a [Plan].
//
//   - A [State] is the model. Events go in, each with the time at which it came, and lines
//     come out, for a given size and time. It knows no clock, no terminal and no lock, so
//     a test is a table.
//   - A screen turns lines into the bytes that make a terminal show them, in place of
//     those that it shows already.
//   - A [View] joins the two with a clock, signals and a terminal. Its handler only
//     changes the state; a goroutine draws, a dozen times in a second at most.
//
// Reading order: state.go, node.go, builds.go, failure.go, bytes.go, plan.go; what is seen
// of it: lines.go, choose.go, tree.go, status.go, summary.go, span.go, text.go, spell.go;
// how it gets to the terminal: screen.go, view.go, output.go, signals_unix.go.
package live
