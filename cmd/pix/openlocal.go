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

// openLocal opens a store in a directory with the settings of nix.conf.
func (a *app) openLocal(ctx context.Context, c *storeChoice) (store.Store, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	if c.open.serving != servingStdio { // a client of ssh-ng would see the warnings on every connection
		a.warnOfConfiguration()
	}
	opts, access := c.options, c.open.access
	if err := setLocal(opts.Local, conf); err != nil && access != toRead {
		return nil, err
	}
	var keyErrs []error
	opts.Local.TrustedKeys, keyErrs = trustedKeys(conf)
	for _, err := range keyErrs {
		a.warn(errorText(err))
	}
	opts.Local.ReadOnly, opts.Local.NoCreate = access == toRead, access != toCreate
	opts.Substitution = a.substitution(conf, c)
	opts.BuildSettings = a.buildSettings(conf, c)
	if c.open.serving != notServing { // the clients share the slots of the daemon
		opts.MaxJobs = max(1, jobs(conf.Reader()))
	}
	s, err := pix.Open(ctx, c.uri, opts)
	if isForbidden(err) && access != toRead && c.open.serving != servingSockets {
		// A verb may still succeed if it finds nothing to write, such as a build of valid outputs.
		opts.Local.ReadOnly = true
		if readOnly, readErr := pix.Open(ctx, c.uri, opts); readErr == nil {
			fmt.Fprintf(a.stderr, "pix: note: the store can only be read: %s\n", errorText(err))
			return readOnly, nil
		}
	}
	if err != nil {
		return nil, &unknownError{err}
	}
	return s, nil
}

// isForbidden reports whether the user may not write to a file, or its file system is read-only.
func isForbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
