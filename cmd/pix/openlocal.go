package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"pix"
	"pix/nixconf"
	"pix/signature"
	"pix/store"
)

// openLocal opens a store in a directory, which behaves as nix.conf says.
func (a *app) openLocal(ctx context.Context, uri string, opts *pix.Options) (store.Store, error) {
	conf, err := nixconf.Load(a.getenv)
	if err != nil {
		return nil, &usageError{err}
	}
	keys, err := signature.ParseKeySet(strings.Join(conf.TrustedPublicKeys, " "))
	if err != nil {
		return nil, &usageError{fmt.Errorf("trusted-public-keys: %w", err)}
	}
	opts.Local.ReadOnly = a.onlyRead
	opts.Local.TrustedKeys, opts.Local.NoSignatures = keys, !conf.RequireSigs
	opts.Local.KeepOutputs, opts.Local.DropDerivers = conf.KeepOutputs, !conf.KeepDerivations
	opts.Local.AutoOptimise = conf.AutoOptimiseStore
	s, err := pix.Open(ctx, uri, opts)
	if isForbidden(err) && !a.onlyRead && !a.isDaemon {
		// Questions can be answered all the same.
		opts.Local.ReadOnly = true
		if readOnly, readErr := pix.Open(ctx, uri, opts); readErr == nil {
			fmt.Fprintf(a.stderr, "pix: note: the store can only be read: %v\n", err)
			return readOnly, nil
		}
	}
	if err != nil {
		return nil, &unknownError{err}
	}
	return s, nil
}

// isForbidden reports whether err says that something may not be written to.
func isForbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
