package pix

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"pix/binarycache"
	"pix/daemon"
	"pix/localstore"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// FromEnvironment returns the options that environment variables set, with NoEnvironment. The command pix uses them,
// and [Open] uses them for options that are not set. A program can change them:
//
//	opts, err := pix.FromEnvironment(os.Getenv)
//	…
//	opts.Local.TrustedKeys = keys
//	s, err := pix.Open(ctx, "auto", opts)
//
// The variables are:
//
//	NIX_STORE_DIR                the store directory
//	NIX_DAEMON_SOCKET_PATH       the socket of the daemon; by default in the state directory
//	NIX_STATE_DIR, NIX_LOG_DIR   the directories for state and logs of the store of this machine
//	NIX_SSHOPTS                  arguments for ssh
//	NIX_SSL_CERT_FILE            the file with the trusted certificate authorities
//	XDG_DATA_HOME                the data directory of the user; by default .local/share in HOME
//	PIX_CLOSURE_LIMIT            the memory limit for a closure that a cache or a daemon reports,
//	                             such as 1G: see [Options.ClosureLimits]
//
// The error names the variable with an invalid value.
func FromEnvironment(getenv func(string) string) (*Options, error) {
	o := &Options{
		NoEnvironment: true,

		DaemonSocket: getenv("NIX_DAEMON_SOCKET_PATH"),
		DataDir:      dataDir(getenv),
		Cache:        &binarycache.Options{HTTP: binarycache.HTTPOptions{CAFile: getenv("NIX_SSL_CERT_FILE")}},
		Local:        &localstore.Options{StateDir: getenv("NIX_STATE_DIR"), LogDir: getenv("NIX_LOG_DIR")},
	}
	var err error
	if o.StoreDir, err = storeDir(getenv); err != nil {
		return nil, fmt.Errorf("store directory: %w", err)
	}
	if o.SSHOptions, err = daemon.SplitSSHOptions(getenv("NIX_SSHOPTS")); err != nil {
		return nil, fmt.Errorf("NIX_SSHOPTS: %w", err)
	}
	if limit := getenv("PIX_CLOSURE_LIMIT"); limit != "" {
		bytes, err := nixconf.ParseSize(limit)
		if err == nil && (bytes == 0 || bytes > math.MaxInt64) {
			err = fmt.Errorf("%q is not a positive number of bytes, such as 512M or 1G", limit)
		}
		if err != nil {
			return nil, fmt.Errorf("PIX_CLOSURE_LIMIT: %w", err)
		}
		o.ClosureLimits = &store.Limits{Bytes: int64(bytes)}
	}
	return o, nil
}

// withEnvironment returns o with options from the environment for those that are not set. It does not change o, which may be nil.
func (o *Options) withEnvironment() (*Options, error) {
	if o != nil && o.NoEnvironment {
		return o, nil
	}
	env, err := FromEnvironment(os.Getenv)
	if err != nil || o == nil {
		return env, err
	}
	filled := *o
	filled.NoEnvironment = true
	filled.StoreDir = cmp.Or(o.StoreDir, env.StoreDir)
	filled.DaemonSocket = cmp.Or(o.DaemonSocket, env.DaemonSocket)
	filled.DataDir = cmp.Or(o.DataDir, env.DataDir)
	filled.ClosureLimits = cmp.Or(o.ClosureLimits, env.ClosureLimits)
	filled.Cache, filled.Local = env.Cache, env.Local
	if o.SSHOptions == nil {
		filled.SSHOptions = env.SSHOptions
	}
	if o.Cache != nil {
		cache := *o.Cache
		cache.HTTP.CAFile = cmp.Or(cache.HTTP.CAFile, env.Cache.HTTP.CAFile)
		filled.Cache = &cache
	}
	if o.Local != nil {
		local := *o.Local
		local.StateDir = cmp.Or(local.StateDir, env.Local.StateDir)
		local.LogDir = cmp.Or(local.LogDir, env.Local.LogDir)
		filled.Local = &local
	}
	return &filled, nil
}

// storeDir returns the store directory. As in Nix, the variable may end with a slash.
func storeDir(getenv func(string) string) (storepath.Dir, error) {
	if dir := getenv("NIX_STORE_DIR"); dir != "" {
		return storepath.ParseDir(filepath.Clean(dir))
	}
	return storepath.DefaultDir, nil
}

// dataDir returns the data directory of the user, or "" if no variable names it. Relative paths are ignored, as the
// XDG Base Directory Specification requires.
func dataDir(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share")
	}
	return ""
}
