package pix

import (
	"fmt"
	"math"
	"path/filepath"

	"pix/binarycache"
	"pix/daemon"
	"pix/localstore"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// FromEnvironment returns the options that the environment says, as the command pix takes it. They
// are those of [Open] where it is given none, and a beginning for whoever wants others:
//
//	opts, err := pix.FromEnvironment(os.Getenv)
//	…
//	opts.Local.TrustedKeys = keys
//	s, err := pix.Open(ctx, "auto", opts)
//
// These variables count; what is not set is left to the defaults:
//
//	NIX_STORE_DIR                the store directory
//	NIX_DAEMON_SOCKET_PATH       the socket of the daemon; else it is in the state directory
//	NIX_STATE_DIR, NIX_LOG_DIR   where this machine's own store has its state and logs
//	NIX_SSHOPTS                  arguments for ssh
//	NIX_SSL_CERT_FILE            the file with the certificate authorities to trust
//	XDG_DATA_HOME                the directory for the user's data; else .local/share in HOME
//	PIX_CLOSURE_LIMIT            how many bytes of memory a closure may take of which a cache or a
//	                             daemon tells, such as 1G: see [Options.ClosureLimits]
//
// The error says which of them cannot be read.
func FromEnvironment(getenv func(string) string) (*Options, error) {
	o := &Options{
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
			err = fmt.Errorf("%q is no positive number of bytes, such as 512M or 1G", limit)
		}
		if err != nil {
			return nil, fmt.Errorf("PIX_CLOSURE_LIMIT: %w", err)
		}
		o.ClosureLimits = &store.Limits{Bytes: int64(bytes)}
	}
	return o, nil
}

// storeDir returns the store directory. Nix takes it with a slash at its end, too.
func storeDir(getenv func(string) string) (storepath.Dir, error) {
	if dir := getenv("NIX_STORE_DIR"); dir != "" {
		return storepath.ParseDir(filepath.Clean(dir))
	}
	return storepath.DefaultDir, nil
}

// dataDir returns the user's directory for data, or "" if nothing says which it is. What is
// relative does not count, as the XDG Base Directory Specification has it.
func dataDir(getenv func(string) string) string {
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return dir
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share")
	}
	return ""
}
