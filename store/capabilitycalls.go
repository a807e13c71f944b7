package store

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"pix/derivation"
	"pix/nar"
	"pix/nixhash"
	"pix/storepath"
)

// PathFromHashPart returns the valid path of s with a hash part; see [HashPartQuerier].
func PathFromHashPart(ctx context.Context, s Store, hashPart string) (storepath.Path, error) {
	if q, ok := As[HashPartQuerier](s); ok {
		return q.QueryPathFromHashPart(ctx, hashPart)
	}
	return "", unsupported(s, "look up hash parts")
}

// SubstitutablePathInfos returns what the substituters of s report about paths; see
// [SubstituteQuerier].
func SubstitutablePathInfos(ctx context.Context, s Store, paths map[storepath.Path]storepath.ContentAddress) ([]SubstitutableInfo, error) {
	if q, ok := As[SubstituteQuerier](s); ok {
		return q.QuerySubstitutablePathInfos(ctx, paths)
	}
	return nil, unsupported(s, "query substituters")
}

// CompletePaths returns the valid paths of s that have their contents; see [CompletenessQuerier].
// In a store without that capability, every valid path has them.
func CompletePaths(ctx context.Context, s Store, paths []storepath.Path) ([]storepath.Path, error) {
	if q, ok := As[CompletenessQuerier](s); ok {
		return q.QueryCompletePaths(ctx, paths)
	}
	return s.QueryValidPaths(ctx, paths, false)
}

// RefreshPathInfo returns the current info of a path of s; see [Refresher]. A store without that
// capability has no cache, and QueryPathInfo answers.
func RefreshPathInfo(ctx context.Context, s Store, path storepath.Path) (*PathInfo, error) {
	if r, ok := As[Refresher](s); ok {
		return r.RefreshPathInfo(ctx, path)
	}
	return s.QueryPathInfo(ctx, path)
}

// Listing returns the files in an object of s. It is the listing that the store has; see
// [ListingReader]. If there is none, Listing reads the archive.
func Listing(ctx context.Context, s Store, path storepath.Path) (*nar.Listing, error) {
	if r, ok := As[ListingReader](s); ok {
		l, err := r.Listing(ctx, path)
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errors.ErrUnsupported) {
			return l, err
		}
	}
	archive, err := ReadNAR(ctx, s, path)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	l, err := nar.ReadListing(archive)
	if err != nil {
		return nil, err
	}
	// The reader compares the hash of the archive when it reaches the end.
	if _, err := io.Copy(io.Discard, archive); err != nil {
		return nil, err
	}
	return l, nil
}

// ReadNARFrom returns the archive of an object in s from an offset in bytes on, for a download that
// is resumed or a part of a file ([nar.Listing] has the offsets); see [NAROffsetReader]. Without that
// capability it reads and drops the bytes before the offset. To be certain of the contents,
// hash the whole archive. The error is [nar.ErrOffset] if the offset is not in the archive.
func ReadNARFrom(ctx context.Context, s Store, path storepath.Path, offset int64) (io.ReadCloser, error) {
	if offset < 0 {
		return nil, nar.ErrOffset
	}
	if r, ok := As[NAROffsetReader](s); ok {
		return r.NARFromOffset(ctx, path, offset)
	}
	archive, err := ReadNAR(ctx, s, path)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, archive, offset); err != nil {
		archive.Close()
		if err == io.EOF {
			err = nar.ErrOffset
		}
		return nil, err
	}
	return archive, nil
}

// AddBuildLog stores the build log of a derivation in s; see [LogAdder].
func AddBuildLog(ctx context.Context, s Store, drv storepath.Path, log io.Reader) error {
	if a, ok := As[LogAdder](s); ok {
		return a.AddBuildLog(ctx, drv, log)
	}
	return unsupported(s, "store build logs")
}

// BuildLog returns the build log of a derivation in s; see [LogReader].
func BuildLog(ctx context.Context, s Store, drv storepath.Path) (io.ReadCloser, error) {
	if r, ok := As[LogReader](s); ok {
		return r.BuildLog(ctx, drv)
	}
	return nil, unsupported(s, "read build logs")
}

// BuildDerivation builds a derivation in s that need not be in the store; see
// [DerivationBuilder].
func BuildDerivation(ctx context.Context, s Store, path storepath.Path, d *derivation.Derivation, mode BuildMode) (*BuildResult, error) {
	if b, ok := As[DerivationBuilder](s); ok {
		return b.BuildDerivation(ctx, path, d, mode)
	}
	return nil, unsupported(s, "build derivations that are not in the store")
}

// EnsurePath substitutes a path in s if it is not valid; see [Ensurer].
func EnsurePath(ctx context.Context, s Store, path storepath.Path) error {
	if e, ok := As[Ensurer](s); ok {
		return e.EnsurePath(ctx, path)
	}
	return unsupported(s, "substitute paths")
}

// AddPermRoot makes the symlink at link a root of s and returns its name; see [Rooter].
func AddPermRoot(ctx context.Context, s Store, path storepath.Path, link string) (string, error) {
	if r, ok := As[Rooter](s); ok {
		return r.AddPermRoot(ctx, path, link)
	}
	return "", unsupported(s, "have roots")
}

// AddScanning adds an object with given contents to the store of a running build, and scans it for
// references; see [ScanningAdder].
func AddScanning(ctx context.Context, s Store, name string, m storepath.Method, a nixhash.Algorithm, contents io.Reader) (*PathInfo, error) {
	if adder, ok := As[ScanningAdder](s); ok {
		return adder.AddToStoreScanning(ctx, name, m, a, contents)
	}
	return nil, unsupported(s, "scan added objects for references")
}

// SubmitOutput makes a path an output of the running build that s belongs to; see
// [OutputSubmitter].
func SubmitOutput(ctx context.Context, s Store, path derivation.SingleDerivedPath, output string) error {
	if o, ok := As[OutputSubmitter](s); ok {
		return o.SubmitOutput(ctx, path, output)
	}
	return unsupported(s, "accept outputs of a build")
}
