// Package profile reads and changes Nix profiles.
//
// A profile is a symlink, such as /nix/var/nix/profiles/per-user/ann/profile, and its generations: symlinks beside it
// with the names profile-1-link, profile-2-link and so on. Each generation points to a store path and is a root of the
// garbage collector. The profile itself points to one generation, the current one, by its name alone:
//
//	profile        -> profile-2-link
//	profile-1-link -> /nix/store/…-user-environment
//	profile-2-link -> /nix/store/…-user-environment
//
// [New] names a profile. [Profile.Generations] lists it, [Profile.Set] adds a generation and switches to it,
// [Profile.Switch] and [Profile.Rollback] switch, and [Profile.Delete] deletes the generations of a [Selection].
// [Find] finds the profiles in a directory, and [Locations] says where the profiles of a user are. [ReadManifest]
// reads which packages a generation has.
//
// # Locks
//
// Every change holds the lock of the profile, as in Nix: an exclusive flock(2) on the file NAME.lock, which is deleted
// afterwards. Readers take no lock, so they work in directories that they may not write to. They can see a generation
// that is not current yet.
//
// # Hazards
//
// A directory of profiles can belong to another user, who may be hostile. Files whose names do not have exactly the
// form of a generation, and files that are not symlinks, are no generations. A change opens the directory once and follows
// no symlinks in it, so nothing leads a change out of the directory that the caller has named. A generation is created
// under its final name and never replaced, and the profile is replaced by rename(2): after a kill at any point the
// profile points to a complete generation. The current generation is never deleted, and if the current generation cannot
// be determined, no generation is.
//
// Sources: src/libstore/profiles.cc, src/nix/profile.cc and src/nix/nix-collect-garbage in Nix 2.34.8.
package profile
