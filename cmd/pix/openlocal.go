package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"pix"
	"pix/localstore"
	"pix/nixconf"
	"pix/signature"
	"pix/store"
)

// dataDir returns the user's directory for data, or "" if nothing says which it is.
func (a *app) dataDir() string {
	if dir := a.getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	if home := a.getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share")
	}
	return ""
}

// localDirs returns where this machine's own store is, as far as the environment says.
func (a *app) localDirs() *localstore.Options {
	return &localstore.Options{StateDir: a.getenv("NIX_STATE_DIR"), LogDir: a.getenv("NIX_LOG_DIR")}
}

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
	if err != nil {
		return nil, &unknownError{err}
	}
	return s, nil
}
