package main

import (
	"context"
	"errors"
	"net/http"

	"pix/activity"
	"pix/binarycache"
	"pix/store"
	"pix/storepath"
)

// realisationList are the realisations of the store of a push, or nil if it cannot list them: a daemon cannot.
type realisationList []store.KeyedRealisation

// realisationLine returns the line of a realisation in the state file. If an output is built again with another path, its
// realisation has another line.
func realisationLine(r *store.KeyedRealisation) string { return r.ID.ID() + " " + r.OutPath.Base() }

// lines returns the lines of the state file.
func (l realisationList) lines() []string {
	lines := make([]string, len(l))
	for i := range l {
		lines[i] = realisationLine(&l[i])
	}
	return lines
}

// realisations lists the realisations of the store. Malformed ones are ignored: verification reports them.
func (p *pusher) realisations(ctx context.Context) (realisationList, error) {
	all, err := store.AllRealisations(ctx, p.src)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	if _, some := errors.AsType[*store.RealisationsError](err); some {
		err = nil
	}
	return all, err
}

// isNew reports whether a realisation can be pushed: its output is in the cache, and the realisation is not.
func (p *pusher) isNew(r *store.KeyedRealisation) bool {
	line := realisationLine(r)
	return p.state.pushed[r.OutPath] && !p.state.realisations[line] && !p.refused[line]
}

// hasNew reports whether one of the realisations can be pushed.
func (p *pusher) hasNew(all realisationList) bool {
	for i := range all {
		if p.isNew(&all[i]) {
			return true
		}
	}
	return false
}

// pushRealisations copies the new realisations of content-addressed outputs, and records them. With the feature
// ca-derivations, Nix also registers realisations of other outputs, which no client looks up.
func (p *pusher) pushRealisations(ctx context.Context, dst store.Store, all realisationList) error {
	var errs []error
	for i := range all {
		r := &all[i]
		if !p.isNew(r) {
			continue
		}
		info, err := p.src.QueryPathInfo(ctx, r.OutPath)
		if errors.Is(err, store.ErrNotFound) { // it was deleted meanwhile
			continue
		}
		if err == nil && !info.CA.IsZero() {
			// The first push records paths that the cache lacks. A realisation of such a path would lead clients to nothing.
			var has bool
			if has, err = dst.IsValidPath(ctx, r.OutPath); has && err == nil {
				err = p.pushRealisation(ctx, dst, r)
			}
		}
		switch {
		case isRefused(err):
			errs = append(errs, err)
		case err != nil:
			return errors.Join(append(errs, err)...)
		case !p.refused[realisationLine(r)]:
			if err := p.state.add(nil, []string{realisationLine(r)}); err != nil {
				return err
			}
		}
	}
	return errors.Join(errs...)
}

// pushRealisation copies a realisation. One that the cache refuses is not tried again by this process, because each attempt
// would delay new paths.
func (p *pusher) pushRealisation(ctx context.Context, dst store.Store, r *store.KeyedRealisation) error {
	err := store.RegisterRealisation(ctx, dst, *r)
	if errors.Is(err, errors.ErrUnsupported) { // the destination is no cache
		return nil
	}
	if isRefused(err) {
		if p.refused == nil {
			p.refused = make(map[string]bool)
		}
		p.refused[realisationLine(r)] = true
	}
	return err
}

// isRefused reports whether the destination has answered that it does not accept an upload, such as an unsigned realisation.
func isRefused(err error) bool {
	if _, answered := errors.AsType[*activity.Error](err); answered || errors.Is(err, errors.ErrUnsupported) {
		return true
	}
	failure, ok := errors.AsType[*binarycache.RequestError](err)
	if !ok {
		return false
	}
	switch failure.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusUnauthorized:
		return false
	}
	return failure.Status >= 400 && failure.Status < 500
}

// pushExtras copies what belongs to paths that the cache has: build logs, and realisations if the store cannot list them.
// refused is an error of an upload that the cache does not accept. After another failure, the paths are tried again.
func (p *pusher) pushExtras(ctx context.Context, dst store.Store, paths []storepath.Path) (refused, failed error) {
	_, lists := store.As[store.RealisationLister](p.src)
	if lists && p.log == nil {
		return nil, nil
	}
	var errs []error
	note := func(err error) bool {
		if err != nil {
			errs = append(errs, err)
		}
		return err == nil || isRefused(err)
	}
	logged := make(map[storepath.Path]bool)
	for info, err := range store.LookUp(ctx, p.src, paths) {
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		if info == nil || info.Deriver == "" {
			continue
		}
		if p.log != nil && !logged[info.Deriver] {
			logged[info.Deriver] = true
			if !note(p.pushLog(ctx, dst, info.Deriver)) {
				return nil, errors.Join(errs...)
			}
		}
		if !lists && !info.CA.IsZero() && !note(p.pushRealisationsOf(ctx, dst, info)) {
			return nil, errors.Join(errs...)
		}
	}
	return errors.Join(errs...), nil
}

// pushRealisationsOf copies the realisations of a path, which its deriver has. The deriver need not be valid.
func (p *pusher) pushRealisationsOf(ctx context.Context, dst store.Store, info *store.PathInfo) error {
	all, err := store.OutputRealisations(ctx, p.src, info.Deriver)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	for i := range all {
		if r := &all[i]; err == nil && r.OutPath == info.Path && !p.refused[realisationLine(r)] {
			err = p.pushRealisation(ctx, dst, r)
		}
	}
	return err
}
