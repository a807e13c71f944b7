package cacheserver

import (
	"cmp"
	"runtime"
	"time"

	"pix/signature"
)

// Options configure a [Handler]. Nil and the zero values are useful.
type Options struct {
	// Priority is the priority of the cache among the substituters of a client, which asks caches with lower values
	// first. 0 means [DefaultPriority].
	Priority int

	// NoMassQuery asks clients not to query many paths that they do not need.
	NoMassQuery bool

	// URL is the address of the cache that the start page names. "" is the one in the request.
	URL string

	// Keys sign path infos. They sign only paths that a store built itself, paths with a signature by one of TrustedKeys, and
	// content-addressed paths. A binary cache and an Upstream do not compare contents with content addresses, so the keys sign
	// a content-addressed path from them only if its address is the hash of the archive. All signatures of the store are served
	// in addition.
	Keys        []signature.SecretKey
	TrustedKeys signature.KeySet

	// ReadTokens are tokens for reading: a client needs one for every file except /health. A client sends it as the password
	// of a login, or as a Bearer token. Without tokens, everyone may read.
	ReadTokens []string

	// Compress compresses small files and archives with zstd in transit, for clients that accept it. If CompressedDir is
	// not "", narinfos name larger archives as compressed with zstd, which Nix before 2.4 cannot read. They are compressed
	// when they are first requested, and kept in that directory, which no other process may use.
	Compress      bool
	CompressedDir string

	// CompressedSize is the maximum size of the files in CompressedDir in bytes. Files that were not used for the longest
	// time are deleted. 0 means 10 GiB.
	CompressedSize int64

	// MaxEncoders is the maximum number of large archives that are compressed at a time: of the stores of this machine together, and
	// of each Upstream. Twice as many listings are computed. An encoder uses about 30 MB. 0 is half of the number of processors, and
	// at most 4.
	MaxEncoders int

	// MaxArchives is the maximum number of archives that are sent while they are read from stores, of listings, and of files and
	// directories for browsers: of the stores of this machine together, and of each Upstream. Each uses about 1 MB, or more if the
	// object has very many files. Further requests wait. Archives up to 64 KiB do not count, files in CompressedDir, and files of an
	// Upstream. 0 means 24.
	MaxArchives int

	// StallTimeout is the time in which a client must receive 256 KiB of a response, or the rest of it. It is a quarter of that
	// while other requests wait for the place of an archive. 0 means one minute, a negative value no limit.
	StallTimeout time.Duration

	// Uploads accepts uploads, as 'nix copy --to' sends them, into the first of the stores that can add objects. Nil accepts
	// none.
	Uploads *UploadOptions

	// AddFetched adds the paths whose archives clients have fetched from an [Upstream] to the first store, with the references that
	// the store lacks. No request waits for that. The archives are read from the files of the Upstream, so the Upstream keeps them, in
	// a temporary directory if it has no other one; a path is not added if its archive, or one of its references, is too large to be
	// kept. Realisations and build logs are not added. The paths have no roots: a collection deletes them.
	AddFetched bool

	// Observer gets events. It may be nil.
	Observer Observer
}

// DefaultPriority is the default of [Options.Priority]. It comes before cache.nixos.org, which has 40, because a
// cache of one's own is usually nearer.
const DefaultPriority = 30

// setDefaults replaces zero values by the defaults.
func (o *Options) setDefaults() {
	o.Priority = cmp.Or(o.Priority, DefaultPriority)
	o.CompressedSize = cmp.Or(o.CompressedSize, 10<<30)
	o.MaxEncoders = cmp.Or(o.MaxEncoders, max(1, min(4, runtime.GOMAXPROCS(0)/2)))
	o.MaxArchives = cmp.Or(o.MaxArchives, 24)
	o.StallTimeout = cmp.Or(o.StallTimeout, time.Minute)
}
