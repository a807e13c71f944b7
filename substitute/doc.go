// Package substitute knows how a store gets what it lacks from others, its substituters.
//
// Nothing that a path says tells where its object comes from. So whoever needs a path that is
// not valid need not build it: if another store has it, and is to be believed, its archive does
// as well. Mostly these stores are binary caches. [New] makes of any store that can be added to
// one with substituters:
//
//	s := substitute.New(local, &substitute.Options{Settings: …})
//	err := store.BuildPaths(ctx, s, paths, store.BuildNormal)
//
// What it answers is what Nix answers. A path is got from the first substituter that has it, in
// the order of their priorities, with all that it refers to, and what is referred to becomes
// valid first. Outputs of a derivation are got in the same way, if the derivation allows it;
// where they are not to be had, the derivation would have to be built, which is for others.
//
// # Whom to believe
//
// A substituter may lie. So a path is taken from it only if a trusted key has signed what it says
// of the path, or if the path follows from its contents; unless the substituter is trusted
// ([Substituter.Trusted]), or nobody wants signatures ([Settings.NoSignatures]). The contents are
// verified against that while they come, by the store that they are added to. What is not
// believed, cannot be had after all, or is not what it should be, is looked for at the next
// substituter, and whoever follows the call is told.
//
// A substituter with another store directory gives only objects that are addressed by their contents and
// refer to nothing: their path follows from the contents in each directory ([Store.BuildPaths] knows the content
// addresses of fixed outputs).
//
// # What goes on at once
//
// All that is missing is found out first: the closure is walked outwards, many questions at a time.
// Then the objects are copied as [store.Copy] does it, archives read ahead. Two calls that need the
// same path fetch it once: one of them waits for the other, and if that fails, tries itself. All
// that a call was about is a temporary root of its store or session, from before it is looked for.
//
// # Reading order
//
// substituter.go says what a substituter is, and settings.go what a call goes by; store.go has the
// store and its questions, build.go what it makes valid. For that a call (call.go) searches
// (search.go), plans (plan.go), takes what nobody else fetches (claims.go) and copies (archives.go),
// and report.go tells of it. sources.go opens substituters by their URIs.
//
// Sources: src/libstore/build/substitution-goal.cc, derivation-goal.cc and misc.cc in Nix 2.34.
package substitute
