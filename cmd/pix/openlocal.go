package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"pix"
	"pix/store"
)

// openLocal opens a store in a directory, which behaves as nix.conf says.
func (a *app) openLocal(ctx context.Context, uri string, access storeAccess, opts *pix.Options) (store.Store, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	if !a.serves || a.isDaemon { // else a client would see the warnings on every connection by ssh
		a.warnOfConfiguration()
	}
	if err := setLocal(opts.Local, conf); err != nil && access != toRead {
		return nil, err
	}
	var wrong []error
	opts.Local.TrustedKeys, wrong = trustedKeys(conf)
	for _, err := range wrong {
		a.warn(err.Error())
	}
	opts.Local.ReadOnly, opts.Local.NoCreate = access == toRead, access != toCreate
	opts.Substitution = a.substitution(conf, opts)
	s, err := pix.Open(ctx, uri, opts)
	if isForbidden(err) && access != toRead && !a.isDaemon {
		// Questions can be answered all the same.
		opts.Local.ReadOnly = true
		if readOnly, readErr := pix.Open(ctx, uri, opts); readErr == nil {
			fmt.Fprintf(a.stderr, "pix: note: the store can only be read: %s\n", errorText(err))
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
