package pix

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"pix/daemon"
	"pix/localstore"
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
//	XDG_DATA_HOME                the directory for the user's data; else .local/share in HOME
//	PIX_CLOSURE_LIMIT            how many bytes of memory a closure may take of which a cache or a
//	                             daemon tells, such as 1G: see [Options.ClosureLimits]
//
// The error says which of them cannot be read.
func FromEnvironment(getenv func(string) string) (*Options, error) {
	o := &Options{
		DaemonSocket: getenv("NIX_DAEMON_SOCKET_PATH"),
		DataDir:      dataDir(getenv),
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
		bytes, err := parseBytes(limit)
		if err != nil {
			return nil, fmt.Errorf("PIX_CLOSURE_LIMIT: %w", err)
		}
		o.ClosureLimits = &store.Limits{Bytes: bytes}
	}
	return o, nil
}

// parseBytes reads a positive number of bytes, with one of the letters K, M, G and T for powers of 1024.
func parseBytes(s string) (int64, error) {
	digits, shift := s, 0
	if i := strings.IndexAny("KMGT", s[len(s)-1:]); i >= 0 {
		digits, shift = s[:len(s)-1], 10*(i+1)
	}
	n, err := strconv.ParseUint(digits, 10, 63-shift)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%q is no number of bytes, such as 512M or 1G", s)
	}
	return int64(n) << shift, nil
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
