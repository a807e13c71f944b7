// Package substitute makes paths valid by copying them from other stores, the substituters.
//
// A store path does not say where its object comes from. A path that is not valid does not have to
// be built: if another store has it and can be trusted, its archive is as good. Most substituters
// are binary caches. [New] adds substituters to any store that accepts objects:
//
//	s := substitute.New(local, &substitute.Options{Settings: …})
//	err := store.BuildPaths(ctx, s, paths, store.BuildNormal)
//
// The store behaves as Nix does. A path comes from the first substituter that has it, in the order
// of their priorities, together with its closure; references become valid before the paths that
// refer to them. Outputs of a derivation are substituted in the same way if the derivation allows
// it. If they are not available, the derivation has to be built, which is outside this package.
//
// # Trust
//
// A substituter may lie. A path is accepted only if its info has a signature by a trusted key, if
// the path follows from its contents, if the substituter is trusted ([Substituter.Trusted]), or if
// signatures are not required ([Settings.NoSignatures]). The destination store verifies the
// contents against the info while it reads them. A path that is not trusted, missing or damaged is
// requested from the next substituter, and the handler of the context gets a log line.
//
// A substituter with another store directory gives only objects that are addressed by their contents and
// refer to nothing: their path follows from the contents in each directory ([Store.BuildPaths] knows the content
// addresses of fixed outputs).
//
// # Concurrency
//
// A call first determines everything that is missing: it walks the closure breadth-first and asks
// about many paths at a time. Then it copies the objects as [store.Copy] does, and reads archives
// ahead. Two calls that need the same path fetch it once: one waits for the other, and fetches the
// path itself if the other fails. Before a call checks a path, it makes the path a temporary root of
// its store or session.
//
// # Reading order
//
// settings.go defines substituters and the settings of a call; store.go has the
// store and its queries, build.go the methods that make paths valid. They create a call (call.go),
// which searches (search.go), plans (plan.go), claims the paths that no other call is fetching
// (claims.go), copies them (archives.go), and reports its progress (report.go). sources.go opens
// substituters by their URIs.
//
// Sources: src/libstore/build/substitution-goal.cc, derivation-goal.cc and misc.cc in Nix 2.34.
package substitute
