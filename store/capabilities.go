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

// Capabilities for queries. All results are sorted and without duplicates.
type (
	// An AllPathsQuerier can list its valid paths.
	AllPathsQuerier interface {
		QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error)
	}

	// An AllInfosQuerier reads the infos of all its valid paths faster than by path.
	AllInfosQuerier interface {
		CountValidPaths(ctx context.Context) (int, error)
		// QueryAllPathInfos returns the infos in any order. Paths that are added or deleted
		// meanwhile may be missing. An error is the last pair.
		QueryAllPathInfos(ctx context.Context) iter.Seq2[*PathInfo, error]
	}

	// A PathsLister is an [AllPathsQuerier] that can list its valid paths piece by piece.
	PathsLister interface {
		// ListValidPaths returns an iterator over the valid paths, sorted. A path that becomes
		// valid or invalid meanwhile may be missing. An error is the last pair.
		ListValidPaths(ctx context.Context) iter.Seq2[storepath.Path, error]
	}

	// A ReadLimiter is a [NARReader] that limits how many small archives are read from it at once, for
	// example to the number of requests that a server bears. [CopyObjects] reads as many at once as
	// AcquireRead permits, instead of a fixed number.
	ReadLimiter interface {
		// AcquireRead waits until the archive of a path may be read, and returns a function that
		// ends the read.
		AcquireRead(ctx context.Context, path storepath.Path) (release func(), err error)
	}

	// An InfosQuerier answers queries for many path infos faster than one by one. The infos
	// come in the order of the paths. An error is the last pair.
	InfosQuerier interface {
		QueryPathInfos(ctx context.Context, paths []storepath.Path) iter.Seq2[*PathInfo, error]
	}

	// A ClosureOpener answers queries for a closure faster than an [InfosQuerier]: it keeps
	// resources, such as connections, from one query to the next.
	ClosureOpener interface {
		// OpenClosure returns a function for queries. It may be used until end is called.
		OpenClosure(ctx context.Context) (ask InfosAsker, end func())
	}

	// A SortedClosureQuerier finds the paths of a closure without their infos, which takes less
	// time and memory than [Closure].
	SortedClosureQuerier interface {
		// QuerySortedClosure returns the paths of the closure of the roots, sorted, and an
		// iterator over their infos in this order, which queries them. The iterator may use the
		// paths, so the caller must not change them. The info of a path that has been deleted
		// meanwhile is nil. The limit of bytes does not apply. The error is a [*NotFoundError]
		// if a root is not valid, or a [*LimitError].
		QuerySortedClosure(ctx context.Context, roots []storepath.Path, limits Limits) ([]storepath.Path, iter.Seq2[*PathInfo, error], error)
	}

	// An InfosAsker queries paths. It calls take with the index and the info of each path, in
	// any order, on the goroutine of its caller. It stops with the first error of take and
	// returns it. The error is a [*NotFoundError] if a path is not valid.
	InfosAsker func(ctx context.Context, paths []storepath.Path, take func(i int, info *PathInfo) error) error

	// A ReferrerQuerier finds the valid paths that refer to a path, including the path itself.
	ReferrerQuerier interface {
		QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error)
	}

	// A DeriverQuerier finds the valid derivations that have a path as an output.
	DeriverQuerier interface {
		QueryValidDerivers(ctx context.Context, path storepath.Path) ([]storepath.Path, error)
	}

	// A HashPartQuerier finds the valid path with a hash part. If there is none, the error is a
	// [*NotFoundError] without a path.
	HashPartQuerier interface {
		QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error)
	}

	// A SubstituteQuerier queries its substituters. Results do not contain paths that no
	// substituter has.
	SubstituteQuerier interface {
		QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error)
		// The values of paths are their content addresses, or the zero value.
		QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]SubstitutableInfo, error)
	}

	// A MissingQuerier determines what must be built and substituted to make paths valid.
	MissingQuerier interface {
		QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*Missing, error)
	}

	// A RealisationStore stores the paths of outputs of derivations. The error of
	// QueryRealisation is [ErrNotFound] if the path is unknown.
	RealisationStore interface {
		QueryRealisation(ctx context.Context, output DrvOutput) (*Realisation, error)
		RegisterDrvOutput(ctx context.Context, r KeyedRealisation) error
	}
)

// AddOptions configure how objects are added. Nil and the zero values are useful.
type AddOptions struct {
	Repair       bool // replace valid objects; needs a trusted user
	NoSignatures bool // accept objects without signatures; needs a trusted user

	// TrustedKeys are the trusted keys. An object needs a signature of one of them. Nil means
	// the keys of the store. A daemon uses the settings of the connection instead.
	TrustedKeys signature.KeySet

	// Vouched reports whether an object with a weak content address ([PathInfo.CheckContents])
	// comes from a trusted user. If nil, such an object needs NoSignatures or a trusted
	// signature.
	Vouched func(info *PathInfo) bool
}

// Vouches reports whether the options allow an object with no content address or a weak one.
// Malformed signatures are ignored. If opts has no keys, the keys of the store are used.
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

// An Import is an object to add, and its archive, which is read once.
type Import struct {
	Info *PathInfo
	NAR  io.Reader

	// Refresh returns the current info of the object if the source has a newer one, otherwise
	// nil. A store that does not trust Info may call it once. Refresh is nil if the source
	// cannot have a newer one.
	Refresh func(ctx context.Context) *PathInfo
}

// Capabilities for contents.
type (
	// An Adder adds objects with given contents: the plain file for Text and Flat, otherwise
	// the NAR. It computes the path.
	Adder interface {
		AddToStore(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, references []storepath.Path, contents io.Reader, opts *AddOptions) (*PathInfo, error)
	}

	// A NARAdder adds objects with a given path info. It checks that the archive matches the
	// info.
	NARAdder interface {
		AddToStoreNAR(ctx context.Context, info *PathInfo, nar io.Reader, opts *AddOptions) error
	}

	// A MultipleAdder adds many objects at a time. An object must come after the objects that
	// it refers to.
	MultipleAdder interface {
		// AddMultipleToStore adds n objects. An error in the sequence ends it. Objects that
		// came before it are added. If the archive of an object cannot be read or does not
		// match its info, a store that can continue adds the other objects and returns an
		// [*AddError].
		AddMultipleToStore(ctx context.Context, n int, objects iter.Seq2[Import, error], opts *AddOptions) error
	}

	// A CompletenessQuerier may have lost the contents of valid paths, such as a binary cache
	// whose old files were deleted.
	CompletenessQuerier interface {
		// QueryCompletePaths returns the valid paths that still have their contents.
		QueryCompletePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error)
	}

	// A Refresher caches the results of QueryPathInfo.
	Refresher interface {
		// RefreshPathInfo returns the current info of a path, bypassing the cache.
		RefreshPathInfo(ctx context.Context, path storepath.Path) (*PathInfo, error)
	}

	// A NARReader returns the archive of an object. The reader checks the NAR hash before it
	// returns io.EOF, and must be closed. The error is a [*NotFoundError] if the path is not
	// valid.
	NARReader interface {
		NARFromPath(ctx context.Context, path storepath.Path) (io.ReadCloser, error)
	}

	// A DerivationTextReader returns the text of a .drv file faster than a [NARReader] returns its
	// archive, and checks the NAR hash, too. After an error the caller reads the archive.
	DerivationTextReader interface {
		DerivationText(ctx context.Context, path storepath.Path) (string, error)
	}

	// A NAROffsetReader returns the archive of an object from an offset in bytes on, without
	// reading the bytes before it. The reader cannot check the NAR hash, and must be closed. The
	// error is a [*NotFoundError] if the path is not valid, or [nar.ErrOffset].
	NAROffsetReader interface {
		NARFromOffset(ctx context.Context, path storepath.Path, offset int64) (io.ReadCloser, error)
	}

	// A ManyNARReader returns the archives of objects with known infos faster than one by one,
	// in their order. Each archive must be read to its end before the next. It is verified as
	// by a NARReader. An error is the last pair.
	ManyNARReader interface {
		NARsFromPaths(ctx context.Context, infos []*PathInfo) iter.Seq2[io.Reader, error]
	}

	// A ListingReader returns the files in an object without reading its archive. The listing
	// is not verified. The error is [fs.ErrNotExist] if the store has no listing.
	ListingReader interface {
		Listing(ctx context.Context, path storepath.Path) (*nar.Listing, error)
	}

	// A Signer stores signatures.
	Signer interface {
		AddSignatures(ctx context.Context, path storepath.Path, signatures []string) error
	}

	// A LogAdder stores build logs.
	LogAdder interface {
		AddBuildLog(ctx context.Context, drv storepath.Path, log io.Reader) error
	}

	// A LogReader returns build logs, which must be closed. The error is a [*NotFoundError] if
	// there is none. Daemons do not have this capability.
	LogReader interface {
		BuildLog(ctx context.Context, drv storepath.Path) (io.ReadCloser, error)
	}
)

// Capabilities for building, in addition to [Builder].
type (
	// A ResultBuilder returns the result of each build instead of failing with the first.
	ResultBuilder interface {
		BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode BuildMode) ([]KeyedBuildResult, error)
	}

	// A DerivationBuilder builds a derivation that need not be in the store. Its inputs must be
	// valid, and listed in its input sources.
	DerivationBuilder interface {
		BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode BuildMode) (*BuildResult, error)
	}

	// An Ensurer substitutes a path if it is not valid.
	Ensurer interface {
		EnsurePath(ctx context.Context, path storepath.Path) error
	}
)

// Capabilities for maintenance.
type (
	// A TempRooter protects paths from garbage collection while the connection or the process
	// exists. The paths need not be valid yet.
	TempRooter interface {
		AddTempRoot(ctx context.Context, path storepath.Path) error
	}

	// A ManyTempRooter does the same for many paths faster than one by one.
	ManyTempRooter interface {
		AddTempRoots(ctx context.Context, paths []storepath.Path) error
	}

	// A Rooter has permanent roots.
	Rooter interface {
		// AddIndirectRoot registers a symlink to a store path as a root.
		AddIndirectRoot(ctx context.Context, link string) error
		// AddPermRoot creates a symlink to a path and registers it as a root. It returns the
		// name of the symlink. It needs a trusted user.
		AddPermRoot(ctx context.Context, path storepath.Path, link string) (string, error)
		FindRoots(ctx context.Context) ([]Root, error)
	}

	// A Collector collects garbage.
	Collector interface {
		CollectGarbage(ctx context.Context, opts GCOptions) (*GCResult, error)
	}

	// An Optimiser replaces identical files with hard links.
	Optimiser interface {
		OptimiseStore(ctx context.Context) error
	}

	// A Verifier verifies its contents, and reports whether errors remain.
	Verifier interface {
		VerifyStore(ctx context.Context, checkContents, repair bool) (errorsRemain bool, err error)
	}
)

// A TextAdder is a [Store] that adds text files.
type TextAdder interface {
	// AddTextToStore adds a file with the given contents and references, as builtins.toFile
	// does, and returns its path.
	AddTextToStore(ctx context.Context, name, contents string, references []storepath.Path) (storepath.Path, error)
}

// A Builder is a [Store] that builds.
type Builder interface {
	// BuildPaths makes the paths valid, by building or by substitution. The error is a
	// [*BuildError] if that failed.
	BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode BuildMode) error
}

// An OutputQuerier is a [Store] that knows the outputs of its derivations.
type OutputQuerier interface {
	// QueryDerivationOutputMap returns the outputs of a derivation by name. The path of an
	// output is "" if it is not known yet.
	QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error)
}

// A RepairVerifier is a [Verifier] that can repair damaged objects from another store.
type RepairVerifier interface {
	// VerifyStoreFrom verifies the store, repairs it with objects of the store from, and
	// reports whether errors remain. An object that differs from the previous one must be
	// content-addressed or signed by a trusted key.
	VerifyStoreFrom(ctx context.Context, checkContents bool, from Store) (errorsRemain bool, err error)
}

// A Sessioner opens sessions. A session is the same store, but its temporary roots, and the
// roots of added paths, exist exactly until the session is closed. A server opens one for each
// connection.
type Sessioner interface {
	Session(ctx context.Context) (Store, error)
}

// Capabilities of the store that a running build uses. No other store has them.
type (
	// A ScanningAdder adds objects with given contents like an [Adder], and scans them for
	// references to the inputs of the build.
	ScanningAdder interface {
		AddToStoreScanning(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, contents io.Reader) (*PathInfo, error)
	}

	// An OutputSubmitter accepts a path as an output of the build.
	OutputSubmitter interface {
		SubmitOutput(ctx context.Context, path derivation.SingleDerivedPath, output string) error
	}
)

// A SignatureKeeper is a [Signer] that can also remove signatures. A server needs this to limit
// the number of signatures that untrusted users add to a path: every user may add some, and
// each reply about the path contains them.
type SignatureKeeper interface {
	// TrustedKeys returns the trusted keys of the store.
	TrustedKeys() signature.KeySet

	// UpdateSignatures replaces the signatures of a valid path by the result of update. They
	// must be canonical ([signature.Canonical]). update gets the info of the path. It must
	// neither modify the info nor use the store. No other update of the path happens in
	// between, so update may be called again.
	UpdateSignatures(ctx context.Context, path storepath.Path, update func(*PathInfo) []string) error
}

// A ClientConnector is a store that belongs to another daemon. A server in front of it connects
// each of its clients separately. So the clients share neither settings nor temporary roots, do
// not wait for each other, and a client that hangs up stops what the daemon does for it.
type ClientConnector interface {
	// ConnectClient returns the store on a new connection. Closing the store closes the
	// connection.
	ConnectClient(ctx context.Context) (Store, error)
}
