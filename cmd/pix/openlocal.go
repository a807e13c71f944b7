package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"syscall"
	"time"

	"pix"
	"pix/store"
)

// openLocal opens a store in a directory, which behaves as nix.conf says.
func (a *app) openLocal(ctx context.Context, uri string, access storeAccess, opts *pix.Options) (store.Store, error) {
	conf, err := a.configuration()
	if err != nil {
		return nil, err
	}
	keys, err := trustedKeys(conf)
	if err != nil {
		return nil, err
	}
	opts.Local.ReadOnly, opts.Local.NoCreate = access == toRead, access != toCreate
	opts.Local.TrustedKeys, opts.Local.NoSignatures = keys, !conf.RequireSigs
	opts.Substitution = a.substitution(conf)
	opts.Local.KeepOutputs, opts.Local.DropDerivers = conf.KeepOutputs, !conf.KeepDerivations
	opts.Local.AutoOptimise = conf.AutoOptimiseStore
	opts.Local.NoSync, opts.Local.SyncObjects = !conf.FsyncMetadata, conf.FsyncStorePaths
	opts.Local.NoWAL = !conf.UseSQLiteWAL
	if conf.MaxFree > 0 { // that much is free always
		opts.Local.MinFree, opts.Local.MaxFree = conf.MinFree, conf.MaxFree
	}
	opts.Local.MinFreeInterval = time.Duration(min(conf.MinFreeCheckInterval, maxSeconds)) * time.Second
	opts.Local.ReservedSpace = reserved(conf.GCReservedSpace)
	s, err := pix.Open(ctx, uri, opts)
	if isForbidden(err) && access != toRead && !a.isDaemon {
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

// maxSeconds is the longest time that can be said.
const maxSeconds = uint64(math.MaxInt64 / time.Second)

// reserved returns how much is to be set aside, where 0 means the default.
func reserved(size uint64) int64 {
	if size == 0 {
		return -1
	}
	return int64(min(size, math.MaxInt64))
}

// isForbidden reports whether err says that something may not be written to.
func isForbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}
