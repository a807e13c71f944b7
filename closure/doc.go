// Package closure analyses closures: sets of store objects that contain every object that they refer to.
//
// [Load] and [LoadAll] read a closure from any store, [New] takes it from path infos that the program has already.
// A [Closure] answers the questions that people have about disk space and dependencies:
//
//   - How large is it? [Closure.Size], [Closure.ClosureSize], [Closure.ClosureSizes], [Closure.AddedSizes],
//     [Closure.Dominators]
//   - Why does A need B? [Closure.Why], [Closure.Between], [FindReferences]
//   - What needs B? [LoadReferrers]
//   - What changed from one system to the next? [Compare]
//   - Which derivations can change without a rebuild? [Affecting]
//   - What does it look like? [Closure.WriteTree], [Closure.WriteDOT], [Closure.WriteGraphML], [Closure.Layout],
//     [Closure.Around]
//
// A Closure holds the paths, sizes, derivers and references of objects alone. It never reads the contents of objects,
// except in FindReferences, and it does not change after it is loaded, so goroutines can share it.
//
// The references of a valid store have no cycles, except that an object may refer to itself. A damaged or hostile
// store may have others. Methods that need an order of the objects return a [*store.ReferenceCycleError]; the
// other methods work with cycles, and [Closure.Cycles] returns them.
//
// Read closure.go first, then load.go, sizes.go, added.go, why.go and diff.go; tree.go, dot.go, graphml.go, layout.go
// and svg.go draw.
package closure
