package pix

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pix/daemon"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// Resolve returns the URI of the store that is meant where a URI leaves it open, and why it is
// that one:
//
//   - the daemon of this machine, if its socket is there;
//   - else this machine's own store, if its database is there and may be written to, or if the
//     options name both another store directory than the default and a state directory;
//   - else the embedded store, in the directory pix of the user's directory for data.
//
// Any other URI than "" and "auto" it returns as it is, with no reason.
func Resolve(uri string, opts *Options) (resolved, reason string) {
	if uri != "" && uri != "auto" {
		return uri, ""
	}
	if opts == nil {
		var err error
		if opts, err = FromEnvironment(os.Getenv); err != nil {
			opts = new(Options)
		}
	}
	o := *opts
	socket := cmp.Or(o.DaemonSocket, daemon.DefaultSocket)
	none := fmt.Sprintf("there is no daemon's socket at '%s'", socket)
	if o.NoDaemon {
		none = "no daemon is asked"
	} else if info, err := os.Stat(socket); err == nil && !info.IsDir() {
		return "daemon", fmt.Sprintf("there is a daemon's socket at '%s'", socket)
	}
	local := o.localOptions()
	if localstore.IsWritable(&local) {
		return "local", none + ", and the database of this machine's own store may be written to"
	}
	if local.StateDir != "" && cmp.Or(local.Dir, storepath.DefaultDir) != storepath.DefaultDir {
		return "local", none + ", and it is said where this machine's own store and its state are"
	}
	reason = none + ", and no store of this machine whose database may be written to"
	if o.DataDir == "" {
		if o.NoDaemon {
			return "local", reason + ", and no directory for the user's data"
		}
		return "daemon", reason + ", and no directory for the user's data"
	}
	path := url.URL{Path: filepath.Join(o.DataDir, "pix")}
	return "local?root=" + strings.ReplaceAll(path.EscapedPath(), "&", "%26"), reason
}

// localOptions returns the options of this machine's own store.
func (o *Options) localOptions() localstore.Options {
	var local localstore.Options
	if o.Local != nil {
		local = *o.Local
	}
	local.Dir = o.StoreDir
	return local
}

// IsLocal reports whether a URI is that of a store in a directory, which is opened without a
// daemon.
func IsLocal(uri string) bool {
	name, _, _ := strings.Cut(uri, "?")
	return name == "local" || name == "local://" || strings.HasPrefix(name, "/")
}

// openLocal opens a store in a directory.
func (o *Options) openLocal(ctx context.Context, uri string) (store.Store, error) {
	local, err := o.parseLocal(uri)
	if err != nil {
		return nil, err
	}
	s, err := localstore.Open(ctx, &local)
	if err != nil {
		return nil, fmt.Errorf("opening the store '%s': %w", uri, err)
	}
	return o.withSubstituters(s, &local), nil
}

// parseLocal returns the options of the store that a URI names.
func (o *Options) parseLocal(uri string) (localstore.Options, error) {
	local := o.localOptions()
	bad := func(reason string) (localstore.Options, error) { return local, &URIError{uri, reason, false} }
	name, query, _ := strings.Cut(uri, "?")
	params, err := parseParams(query)
	if err != nil {
		return bad(err.Error())
	}
	root := params["root"]
	if strings.HasPrefix(name, "/") {
		if root != "" {
			return bad("it has two roots")
		}
		root = name
	}
	if root != "" {
		local.Root, local.StateDir, local.LogDir, local.StoreDir = root, "", "", ""
	}
	for _, key := range slices.Sorted(maps.Keys(params)) {
		value := params[key]
		switch key {
		case "root":
		case "state":
			local.StateDir = value
		case "log":
			local.LogDir = value
		case "real":
			local.StoreDir = value
		case "read-only":
			if local.ReadOnly = value == "true"; !local.ReadOnly && value != "false" {
				return bad(fmt.Sprintf("read-only is %q instead of true or false", value))
			}
			continue
		default:
			return local, &URIError{uri, fmt.Sprintf("the parameter %s is unknown, expected root, state, log, real or read-only", key), key == "store"}
		}
		if !filepath.IsAbs(value) {
			return bad(fmt.Sprintf("%s is not absolute: '%s'", key, value))
		}
	}
	return local, nil
}

// parseParams reads the parameters of a URI. A plus sign is one, which it would not be in a form.
func parseParams(query string) (map[string]string, error) {
	params := make(map[string]string)
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, fmt.Errorf("the parameter %s has no value", key)
		}
		value, err := url.PathUnescape(value)
		if err != nil {
			return nil, err
		}
		params[key] = value
	}
	return params, nil
}
