// Package live shows the progress of a store on a terminal: which derivations are built and which paths are copied,
// for how long, the phase and the last log line of each build, and totals. At the end it prints which builds
// failed, with the last lines of their logs.
//
// It gets its data from activity events, and from a [Plan] where the command knows what it will build.
//
//   - A [State] is the model. It takes events with their times, and returns lines for a given size and time. It uses
//     no clock, terminal or lock, so tests of it are tables.
//   - A screen returns the bytes that replace the lines on the terminal with new ones.
//   - A [View] connects a State to a clock, signals and a terminal. Its handler only changes the State; a goroutine
//     draws, at most a dozen times a second.
//
// Read the model first: state.go, node.go, builds.go, failure.go, totals.go, plan.go and estimate.go; then its lines: lines.go,
// choose.go, tree.go, status.go, summary.go, span.go, text.go and format.go; then the terminal: screen.go, view.go,
// output.go and signals_unix.go.
package live
