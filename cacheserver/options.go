package cacheserver

import (
	"pix/signature"
)

// Options configure a [Handler]. Nil and the zero values are useful.
type Options struct {
	// Priority is the priority of the cache among the substituters of a client, which asks caches with lower values
	// first. 0 means [DefaultPriority].
	Priority int

	// NoMassQuery asks clients not to query many paths that they do not need.
	NoMassQuery bool

	// Keys sign path infos. They sign only paths that a store built itself, content-addressed paths, and paths with a
	// signature by one of TrustedKeys. All signatures of the store are served in addition.
	Keys        []signature.SecretKey
	TrustedKeys signature.KeySet
}

// DefaultPriority is the default of [Options.Priority]. It comes before cache.nixos.org, which has 40, because a
// cache of one's own is usually nearer.
const DefaultPriority = 30
