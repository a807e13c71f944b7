package pix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"pix/activity"
	"pix/daemon"
	"pix/nixconf"
	"pix/store"
	"pix/storepath"
)

// A storeURI is a store URI and its parameters, decoded.
type storeURI struct {
	uri    string // unchanged
	name   string // the part before the parameters
	params map[string]string
}

// parseURI splits a store URI. The first of duplicate parameters counts, as in Nix.
func parseURI(uri string) (*storeURI, error) {
	name, query, _ := strings.Cut(uri, "?")
	params, err := nixconf.ParseParams(query)
	u := &storeURI{uri, name, params}
	if err != nil {
		return nil, u.bad("%v", err)
	}
	return u, nil
}

// bad returns a [*URIError] about the URI.
func (u *storeURI) bad(format string, args ...any) error {
	return &URIError{u.uri, fmt.Sprintf(format, args...), false}
}

// take removes a parameter and returns its value.
func (u *storeURI) take(key string) (value string, ok bool) {
	value, ok = u.params[key]
	delete(u.params, key)
	return value, ok
}

// takeDir removes a parameter and sets dir to its value, which must be an absolute path. Without the parameter it
// does nothing. The other take methods do the same for other types.
func (u *storeURI) takeDir(key string, dir *string) error {
	value, ok := u.take(key)
	if !ok {
		return nil
	}
	if !filepath.IsAbs(value) {
		return u.bad("%s is not absolute: '%s'", key, value)
	}
	*dir = value
	return nil
}

// takeBool sets b to a parameter with one of Nix's words for booleans.
func (u *storeURI) takeBool(key string, b *bool) error {
	value, ok := u.take(key)
	if !ok {
		return nil
	}
	parsed, err := nixconf.ParseBool(value)
	if err != nil {
		return u.bad("%s is %q, expected true or false", key, value)
	}
	*b = parsed
	return nil
}

// takeRules sets rules to the parameter rules.
func (u *storeURI) takeRules(rules *store.Rules) error {
	value, ok := u.take("rules")
	if !ok {
		return nil
	}
	r, err := store.ParseRules(value)
	if err != nil {
		return u.bad("%v", err)
	}
	*rules = r
	return nil
}

// takeStoreDir sets dir to the parameter store.
func (u *storeURI) takeStoreDir(dir *storepath.Dir) error {
	value, ok := u.take("store")
	if !ok {
		return nil
	}
	parsed, err := storepath.ParseDir(filepath.Clean(value))
	if err != nil {
		return u.bad("the parameter store: %v", err)
	}
	*dir = parsed
	return nil
}

// takeMaxConns sets conns to the parameter max-connections.
func (u *storeURI) takeMaxConns(conns *int) error {
	value, ok := u.take("max-connections")
	if !ok {
		return nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		return u.bad("max-connections is %q, expected a positive number", value)
	}
	*conns = n
	return nil
}

// The parameters of Nix that pix accepts and ignores: for all stores, for stores in a directory and for daemons. Builds take
// system-features and build-dir from the settings. pix does not cache path infos of daemons, and does not
// close connections because of their age. A store that substitutes decides itself how to use its substituters. A
// client of ssh-ng may pass any of them in remote-store.
var (
	accepted      = []string{"path-info-cache-size", "priority", "system-features", "trusted", "want-mass-query"}
	acceptedLocal = append([]string{"build-dir", "ignore-gc-delete-failure", "use-roots-daemon"}, accepted...)
	acceptedOther = append([]string{"max-connection-age"}, accepted...)
)

// warnUnknown sends Nix's warning about each remaining parameter that is not accepted to the handler in ctx.
func (u *storeURI) warnUnknown(ctx context.Context, accepted []string) {
	handler := activity.HandlerOf(ctx)
	for _, key := range slices.Sorted(maps.Keys(u.params)) {
		if !slices.Contains(accepted, key) && handler != nil {
			handler.HandleEvent(activity.Log{Level: activity.LevelWarn, Text: fmt.Sprintf("warning: unknown setting '%s'", key)})
		}
	}
}

// isDir reports whether the part of a URI before the parameters is a directory. A directory contains a slash, so a
// word such as auto is not one.
func isDir(name string) bool { return strings.Contains(name, "/") && !strings.Contains(name, "://") }

// takeRoot sets root to the directory of the store, from the path of the URI or the parameter root. It is "" for
// the store of this machine.
func (u *storeURI) takeRoot(root *string) error {
	var path string
	var err error
	if rest, ok := strings.CutPrefix(u.name, "local://"); ok {
		path, err = url.PathUnescape(rest)
	} else if isDir(u.name) {
		path, err = filepath.Abs(u.name)
	}
	if err != nil {
		return u.bad("%v", err)
	}
	if path != "" && !filepath.IsAbs(path) {
		return u.bad("the path of the store is not absolute: '%s'", path)
	}
	if err := u.takeDir("root", root); err != nil {
		return err
	}
	if path != "" && *root != "" {
		return u.bad("it has both a path and the parameter root")
	}
	*root = cmp.Or(*root, path)
	return nil
}

// takeStateDir returns the state directory of the store, and removes the parameters that name it.
func (u *storeURI) takeStateDir(o *Options) (string, error) {
	var root, state string
	if err := errors.Join(u.takeRoot(&root), u.takeDir("state", &state)); err != nil {
		return "", err
	}
	switch {
	case state != "":
	case root != "":
		state = filepath.Join(root, "nix/var/nix")
	case o.Local != nil:
		state = o.Local.StateDir
	}
	return cmp.Or(state, "/nix/var/nix"), nil
}

// SocketPath returns the default socket of a daemon that serves the store at uri, as in Nix 2.35:
// Options.DaemonSocket, or daemon-socket/socket in the state directory of the store. For a store without a state
// directory, such as a cache, it uses the state directory of this machine. Options that are not set come
// from the environment, as in [Open]. The error is a [*URIError].
func SocketPath(uri string, opts *Options) (string, error) {
	opts, err := opts.withEnvironment()
	if err != nil {
		return "", err
	}
	if opts.DaemonSocket != "" {
		return opts.DaemonSocket, nil
	}
	u, err := parseURI(uri)
	if err != nil {
		return "", err
	}
	state, err := u.takeStateDir(opts)
	if err != nil {
		return "", err
	}
	return filepath.Join(state, "daemon-socket", "socket"), nil
}

// transport returns the transport to the daemon that the URI names, and removes the parameters of the transport.
func (u *storeURI) transport(o *Options) (daemon.Transport, error) {
	scheme, rest, ok := strings.Cut(u.name, "://")
	switch {
	case u.name == "daemon" || u.name == "unix://":
		return u.machineSocket(o)
	case !ok && u.name != "":
		return nil, u.bad("not a store URI; use './%s' for a directory; %s", u.name, expected)
	case !ok:
		return nil, u.bad("not a store URI; %s", expected)
	case scheme == "unix":
		return u.unixSocket(rest)
	case scheme == "ssh-ng":
		return u.ssh(o)
	}
	if hint, ok := unsupported[scheme]; ok {
		return nil, &URIError{u.uri, fmt.Sprintf("the scheme %s:// is not supported; %s", scheme, hint), true}
	}
	return nil, u.bad("the scheme %s:// is unknown; %s", scheme, expected)
}

// unsupported are the schemes of Nix that pix does not support, with advice.
var unsupported = map[string]string{
	"ssh":            "use ssh-ng://HOST, which every Nix since 2.0 serves",
	"dummy":          "use a store in an empty directory, such as /tmp/DIR",
	"local-overlay":  "use local",
	"mounted-ssh-ng": "use ssh-ng://HOST",
}

// machineSocket returns the socket of the daemon for the store of this machine, or for another store on this
// machine that the parameters name.
func (u *storeURI) machineSocket(o *Options) (daemon.Transport, error) {
	state, err := u.takeStateDir(o)
	if err != nil {
		return nil, err
	}
	u.dropFileDirs()
	return daemon.Unix{Path: cmp.Or(o.DaemonSocket, filepath.Join(state, "daemon-socket", "socket"))}, nil
}

// unixSocket returns the socket that the URI names.
func (u *storeURI) unixSocket(path string) (daemon.Transport, error) {
	path, err := url.PathUnescape(path)
	if err != nil {
		return nil, u.bad("%v", err)
	}
	if !strings.HasPrefix(path, "/") {
		return nil, u.bad("the path of the socket is not absolute")
	}
	u.dropFileDirs()
	return daemon.Unix{Path: path}, nil
}

// ssh returns the transport to a daemon on another machine.
func (u *storeURI) ssh(o *Options) (daemon.Transport, error) {
	known := make(url.Values)
	for _, key := range []string{"ssh-key", "base64-ssh-public-host-key", "remote-program", "remote-store"} {
		if value, ok := u.take(key); ok {
			known.Set(key, value)
		}
	}
	var compress bool
	if err := u.takeBool("compress", &compress); err != nil {
		return nil, err
	}
	ssh, err := daemon.ParseSSH(u.name + "?" + known.Encode())
	if err != nil {
		return nil, u.bad("%v", err)
	}
	ssh.Options, ssh.Compress = o.SSHOptions, compress
	return ssh, nil
}

// dropFileDirs removes the parameters for the directories of a daemon's store. Nix uses them to read objects
// directly; pix reads objects through the daemon.
func (u *storeURI) dropFileDirs() {
	for _, key := range []string{"root", "state", "log", "real"} {
		delete(u.params, key)
	}
}
