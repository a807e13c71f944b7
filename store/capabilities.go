package store

import (
	"context"
	"io"
	"iter"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/signature"
	"pix/storepath"
)

// The capabilities of a store that answer questions. All results are sorted, each path once.
type (
	// An AllPathsQuerier can list its valid paths.
	AllPathsQuerier interface {
		QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error)
	}

	// An InfosQuerier answers many questions about paths sooner than one by one. What it knows
	// comes in the order of the paths; an error is the last pair.
	InfosQuerier interface {
		QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*PathInfo, error]
	}

	// A ClosureOpener answers about the paths of a closure sooner than an [InfosQuerier]: what it
	// opens for the first of them, such as connections, it keeps for the next.
	ClosureOpener interface {
		// OpenClosure returns a function that asks about paths, until end is called.
		OpenClosure(ctx context.Context) (ask InfosAsker, end func())
	}

	// An InfosAsker asks about paths, and calls take with the index of each path and what is known of
	// it, in any order, on the goroutine of its caller. An error of take ends it, and is returned; the
	// error is a [*NotFoundError] if a path is not valid.
	InfosAsker func(ctx context.Context, paths []storepath.Path, take func(i int, info *PathInfo) error) error

	// A ReferrerQuerier knows which valid paths refer to a path, itself among them if it
	// does.
	ReferrerQuerier interface {
		QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error)
	}

	// A DeriverQuerier knows which valid derivations have a path as an output.
	DeriverQuerier interface {
		QueryValidDerivers(ctx context.Context, path storepath.Path) ([]storepath.Path, error)
	}

	// A HashPartQuerier finds the valid path with a hash part. The error is a
	// [*NotFoundError] with no path if there is none.
	HashPartQuerier interface {
		QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error)
	}

	// A SubstituteQuerier knows what its substituters have. Those that they have not are
	// left out.
	SubstituteQuerier interface {
		QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error)
		// QuerySubstitutablePathInfos takes the content address of each path, or the zero
		// value.
		QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]SubstitutableInfo, error)
	}

	// A MissingQuerier says what it would take to make paths valid.
	MissingQuerier interface {
		QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*Missing, error)
	}

	// A RealisationStore knows the paths that outputs of derivations have got. The error of
	// QueryRealisation is [ErrNotFound] if it does not know.
	RealisationStore interface {
		QueryRealisation(ctx context.Context, output DrvOutput) (*Realisation, error)
		RegisterDrvOutput(ctx context.Context, r KeyedRealisation) error
	}
)

// AddOptions say how objects are added. Nil and the zero values are useful.
type AddOptions struct {
	Repair       bool // replace an object that is there; needs a trusted user
	NoSignatures bool // take objects that nobody signed; needs a trusted user

	// TrustedKeys are trusted to sign objects. An object needs a signature by one of them. Nil means the keys of the
	// store. A daemon uses the settings of the connection instead.
	TrustedKeys signature.KeySet

	// Vouched reports whether an object whose content address is weak ([PathInfo.CheckContents])
	// comes from a trusted user. Nil means that it needs NoSignatures or a trusted signature.
	Vouched func(info *PathInfo) bool
}

// Vouches reports whether the options allow an object that has no content address, or a weak one.
// Malformed signatures count as absent. The keys of the store are used if opts has none.
func (opts *AddOptions) Vouches(info *PathInfo, weak bool, keys signature.KeySet) bool {
	if weak && opts.Vouched != nil {
		return opts.Vouched(info)
	}
	if opts.NoSignatures {
		return true
	}
	if opts.TrustedKeys != nil {
		keys = opts.TrustedKeys
	}
	good, _ := info.CheckSignatures(keys)
	return len(good) > 0
}

// An Import is an object to be added, and its archive, which is read once.
type Import struct {
	Info *PathInfo
	NAR  io.Reader

	// Refresh returns the current info of the object if the source has another one by now, else nil. A
	// store may call it once, if it does not trust Info. Nil means that the source cannot tell.
	Refresh func(ctx context.Context) *PathInfo
}

// The capabilities of a store that take and give contents.
type (
	// An Adder takes objects by their contents: the file itself for Text and Flat, else
	// its NAR. It computes the path.
	Adder interface {
		AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *AddOptions) (*PathInfo, error)
	}

	// A NARAdder takes objects whose path info is known. It verifies that the archive is
	// what the info says.
	NARAdder interface {
		AddToStoreNAR(ctx context.Context, info *PathInfo, nar io.Reader, opts *AddOptions) error
	}

	// A MultipleAdder adds many objects at once. An object comes after the objects that it refers to.
	MultipleAdder interface {
		// AddMultipleToStore adds n objects. An error from the sequence ends it; what has come
		// until then is added. If the archive of an object cannot be read or is not the right one,
		// a store that can go on adds the other objects and returns an [*AddError].
		AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[Import, error], opts *AddOptions) error
	}

	// A CompletenessQuerier may have lost the contents of valid paths, as a binary cache whose old files
	// were deleted.
	CompletenessQuerier interface {
		// QueryCompletePaths returns the valid paths whose contents are there.
		QueryCompletePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error)
	}

	// A Refresher remembers answers of QueryPathInfo.
	Refresher interface {
		// RefreshPathInfo returns the current info of a path, not a remembered one.
		RefreshPathInfo(ctx context.Context, path storepath.Path) (*PathInfo, error)
	}

	// A NARReader gives the archive of an object. The reader verifies it against the NAR
	// hash before it returns io.EOF, and must be closed. The error is a [*NotFoundError] if
	// the path is not valid.
	NARReader interface {
		NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error)
	}

	// A ManyNARReader gives the archives of objects of which everything is known, in their
	// order, sooner than one by one. Each is read to its end before the next, and verified as by
	// a NARReader. An error is the last pair.
	ManyNARReader interface {
		NARsFromPaths(ctx context.Context, infos []*PathInfo) iter.Seq2[io.Reader, error]
	}

	// A ListingReader knows what is in an object without reading its archive. Nobody has
	// verified that. The error is [fs.ErrNotExist] if it does not know.
	ListingReader interface {
		Listing(ctx context.Context, path storepath.Path) (*nar.Listing, error)
	}

	// A Signer keeps signatures.
	Signer interface {
		AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error
	}

	// A LogAdder keeps build logs.
	LogAdder interface {
		AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error
	}

	// A LogReader gives build logs, which must be closed. The error is a [*NotFoundError] if
	// there is none. No daemon does that.
	LogReader interface {
		BuildLog(ctx context.Context, drv storepath.Path) (io.ReadCloser, error)
	}
)

// The capabilities of a store that builds, besides [Builder].
type (
	// A ResultBuilder says how each build ended, instead of failing with the first.
	ResultBuilder interface {
		BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode BuildMode) ([]KeyedBuildResult, error)
	}

	// A DerivationBuilder builds a derivation that need not be in the store. Its inputs
	// must be valid, and be among its input sources.
	DerivationBuilder interface {
		BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode BuildMode) (*BuildResult, error)
	}

	// An Ensurer makes a path valid by substitution, if it is not.
	Ensurer interface {
		EnsurePath(ctx context.Context, path storepath.Path) error
	}
)

// The capabilities of a store that keeps itself in order.
type (
	// A TempRooter keeps paths from being collected for a while: as long as the connection
	// lives, or the process. They need not be valid yet.
	TempRooter interface {
		AddTempRoot(ctx context.Context, path storepath.Path) error
	}

	// A ManyTempRooter does the same for many paths sooner than one by one.
	ManyTempRooter interface {
		AddTempRoots(ctx context.Context, paths []storepath.Path) error
	}

	// A Rooter has roots that last.
	Rooter interface {
		// AddIndirectRoot makes the symlink at link, which points into the store, a root.
		AddIndirectRoot(ctx context.Context, link string) error
		// AddPermRoot makes a symlink at link to path, and that a root. It returns where the
		// symlink is; it needs a trusted user.
		AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error)
		FindRoots(ctx context.Context) ([]Root, error)
	}

	// A Collector collects garbage.
	Collector interface {
		CollectGarbage(ctx context.Context, opts GCOptions) (*GCResult, error)
	}

	// An Optimiser makes equal files one.
	Optimiser interface {
		OptimiseStore(ctx context.Context) error
	}

	// A Verifier checks its own contents, and reports whether errors remain.
	Verifier interface {
		VerifyStore(ctx context.Context, checkContents, repair bool) (errorsRemain bool, err error)
	}
)
