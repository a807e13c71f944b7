package cacheserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"

	"pix/binarycache"
	"pix/signature"
	"pix/store"
	"pix/storepath"
)

const (
	maxSmallUpload   = 1 << 20  // bytes of nix-cache-info or a realisation
	maxListingUpload = 64 << 20 // bytes of a listing
)

// putCacheInfo compares a nix-cache-info with the one of the server, which does not change. Nix sends one only if it has not
// received one.
func (p *upload) putCacheInfo() error {
	text, err := p.text(p.r.Context(), maxSmallUpload)
	if err != nil {
		return err
	}
	info, err := binarycache.ParseCacheInfo(string(text))
	if err != nil {
		return unacceptable("nix-cache-info: %v", err)
	}
	if info.StoreDir != p.h.dir {
		return conflict("the store directory of the cache is '%s', and not '%s'", p.h.dir, info.StoreDir)
	}
	return nil
}

// putListing discards a listing. The server computes the listing of an object from its archive, which is the only one that is
// certain to match.
func (p *upload) putListing() error {
	if p.r.ContentLength > maxListingUpload {
		return errLongBody
	}
	_, err := io.Copy(io.Discard, p.open(maxListingUpload))
	return err
}

// putLog adds the log of a build. Nothing says whether a log is right, so the uploader must be trusted, as in a daemon of Nix, and
// a log does not replace another one.
func (p *upload) putLog(ctx context.Context) (created bool, err error) {
	if !p.by.Trusted {
		return false, &statusError{http.StatusForbidden, "only trusted uploaders may add build logs"}
	}
	drv, err := p.h.dir.ParseBase(p.name.drv)
	if err != nil || !drv.IsDerivation() {
		return false, unacceptable("a log has the name of a derivation, and '%s' is none", p.name.drv)
	}
	err = p.decoded(ctx, p.opts.MaxLog, func(log io.Reader) error {
		unlock, err := p.adding.lock(ctx, p.name.drv)
		if err != nil {
			return err
		}
		defer unlock()
		known, err := store.BuildLog(ctx, p.target, drv)
		if err == nil {
			defer known.Close()
			return compareLogs(known, log)
		}
		if !isAbsent(err) {
			return err
		}
		created = true
		return addLog(ctx, p.target, drv, log)
	})
	return created, err
}

// addLog adds a log that the store does not have.
func addLog(ctx context.Context, s store.Store, drv storepath.Path, log io.Reader) error {
	err := store.AddBuildLog(ctx, s, drv, log)
	if errors.Is(err, errors.ErrUnsupported) {
		return &statusError{http.StatusMethodNotAllowed, "the store of the cache does not keep build logs"}
	}
	return err
}

// compareLogs returns an error unless two logs are equal.
func compareLogs(a, b io.Reader) error {
	var bufA, bufB [32 << 10]byte
	for {
		n, errA := io.ReadFull(a, bufA[:])
		m, errB := io.ReadFull(b, bufB[:])
		for _, err := range []error{errA, errB} {
			if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				return err
			}
		}
		if !bytes.Equal(bufA[:n], bufB[:m]) {
			return conflict("the cache has another log of the derivation")
		}
		if errA != nil {
			return nil
		}
	}
}

// putRealisation registers the path of an output of a derivation. Unlike an object, it cannot be checked by its contents, so it
// needs a signature by a trusted key, unless the uploader is trusted.
func (p *upload) putRealisation(ctx context.Context) (created bool, err error) {
	text, err := p.text(ctx, maxSmallUpload)
	if err != nil {
		return false, err
	}
	r, err := p.parseRealisation(string(text))
	if err != nil {
		return false, unacceptable("the realisation: %v", err)
	}
	if len(r.Signatures) > maxSignatures {
		return false, unacceptable("the realisation has %d signatures, more than %d", len(r.Signatures), maxSignatures)
	}
	fingerprint, err := realisationFingerprint(&r)
	if err != nil {
		return false, unacceptable("the realisation: %v", err)
	}
	if !p.by.Trusted && !isSigned(fingerprint, r.Signatures, p.h.opts.TrustedKeys) {
		return false, &statusError{http.StatusForbidden, "the realisation lacks a signature by a trusted key"}
	}
	if valid, err := p.target.IsValidPath(ctx, r.OutPath); err != nil {
		return false, err
	} else if !valid {
		return false, unacceptable("the cache does not have the output '%s'", r.OutPath)
	}
	return p.registerRealisation(ctx, r)
}

// registerRealisation registers a realisation, or adds its signatures to the known one.
func (p *upload) registerRealisation(ctx context.Context, r store.KeyedRealisation) (created bool, err error) {
	unlock, err := p.adding.lock(ctx, r.ID.ID())
	if err != nil {
		return false, err
	}
	defer unlock()
	known, err := store.QueryRealisation(ctx, p.target, r.ID)
	switch {
	case err == nil && known.OutPath != r.OutPath:
		return false, conflict("the cache has another path of the output, '%s'", known.OutPath)
	case err == nil:
		r.Signatures = slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(known.Signatures), r.Signatures...))))
	case !isAbsent(err):
		return false, err
	}
	created = err != nil
	err = store.RegisterRealisation(ctx, p.target, r)
	if errors.Is(err, errors.ErrUnsupported) {
		return false, &statusError{http.StatusMethodNotAllowed, "the store of the cache cannot register this realisation"}
	}
	return created, err
}

// parseRealisation parses an uploaded realisation, which must be the one that its name says.
func (p *upload) parseRealisation(text string) (r store.KeyedRealisation, err error) {
	if p.name.kind == kindTrace {
		r.ID = p.name.output
		if r.ID.Path, err = p.h.dir.ParseBase(p.name.drv); err != nil {
			return r, err
		}
		r.Realisation, err = store.ParseValueJSON(p.h.dir, text)
		return r, err
	}
	r, err = store.ParseRealisationJSON(p.h.dir, text)
	if err == nil && (r.ID.Hash != p.name.output.Hash || r.ID.Output != p.name.output.Output) {
		err = errors.New("it describes another output than its name")
	}
	return r, err
}

// realisationFingerprint returns the text that signatures of a realisation sign.
func realisationFingerprint(r *store.KeyedRealisation) ([]byte, error) {
	if r.ID.Path != "" {
		return signature.RealisationFingerprint(r.ID.Path, r.ID.Output, r.OutPath)
	}
	return signature.OldRealisationFingerprint(r.ID.Hash, r.ID.Output, r.OutPath)
}
