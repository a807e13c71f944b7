package pix

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"pix/daemon"
	"pix/localstore"
	"pix/store"
	"pix/storepath"
)

// Resolve returns the URI of the store for "" and "auto", and the reason for the choice:
//
//   - the daemon of this machine, if its socket exists;
//   - else the store of this machine, if its database exists and is writable, or if the options have both a store
//     directory other than the default and a state directory;
//   - else a store in the directory pix in the data directory of the user.
//
// It returns any other URI unchanged, with the reason "".
func Resolve(uri string, opts *Options) (resolved, reason string) {
	name, query, _ := strings.Cut(uri, "?")
	if name != "" && name != "auto" {
		return uri, ""
	}
	opts, err := opts.withEnvironment()
	if err != nil {
		opts = &Options{NoEnvironment: true}
	}
	resolved, reason = resolveAuto(uri, *opts)
	if query == "" {
		return resolved, reason
	}
	if strings.Contains(resolved, "?") {
		return resolved + "&" + query, reason
	}
	return resolved + "?" + query, reason
}

// resolveAuto returns the URI, without parameters, of the store for auto, and the reason.
func resolveAuto(uri string, o Options) (resolved, reason string) {
	socket, err := SocketPath(uri, &o)
	if err != nil { // opening the store reports the error
		socket = cmp.Or(o.DaemonSocket, daemon.DefaultSocket)
	}
	none := fmt.Sprintf("there is no daemon socket at '%s'", socket)
	if o.NoDaemon {
		none = "the daemon is not used"
	} else if info, err := os.Stat(socket); err == nil && !info.IsDir() {
		return "daemon", fmt.Sprintf("there is a daemon socket at '%s'", socket)
	}
	if namesDir(uri) {
		return "local", none + ", and the parameters name a store in a directory"
	}
	local := o.localOptions()
	if localstore.IsWritable(&local) {
		return "local", none + ", and the database of the store of this machine is writable"
	}
	if local.StateDir != "" && cmp.Or(local.Dir, storepath.DefaultDir) != storepath.DefaultDir {
		return "local", none + ", and the store directory and the state directory are set"
	}
	reason = none + ", and no writable store of this machine"
	if o.DataDir == "" {
		if o.NoDaemon {
			return "local", reason + ", and no data directory of the user"
		}
		return "daemon", reason + ", and no data directory of the user"
	}
	path := url.URL{Path: filepath.Join(o.DataDir, "pix")}
	return "local?root=" + strings.ReplaceAll(path.EscapedPath(), "&", "%26"), reason
}

// namesDir reports whether the parameters of a URI name the directory of a store.
func namesDir(uri string) bool {
	u, err := parseURI(uri)
	if err != nil {
		return false
	}
	_, root := u.take("root")
	_, state := u.take("state")
	return root || state
}

// localOptions returns the options of the store of this machine.
func (o *Options) localOptions() localstore.Options {
	var local localstore.Options
	if o.Local != nil {
		local = *o.Local
	}
	local.Dir = o.StoreDir
	return local
}

// IsLocal reports whether a URI names a store in a directory, which is opened without a daemon.
func IsLocal(uri string) bool {
	name, _, _ := strings.Cut(uri, "?")
	return name == "local" || strings.HasPrefix(name, "local://") || isDir(name)
}

// openLocal opens a store in a directory.
func (o *Options) openLocal(ctx context.Context, u *storeURI) (store.Store, error) {
	local, err := o.parseLocal(u)
	if err != nil {
		return nil, err
	}
	u.warnUnknown(ctx, acceptedLocal)
	s, err := localstore.Open(ctx, &local)
	if err != nil {
		return nil, fmt.Errorf("opening the store '%s': %w", u.uri, err)
	}
	return o.withBuilds(o.withSubstituters(s, &local), &local), nil
}

// parseLocal returns the options of the store in a directory that a URI names.
func (o *Options) parseLocal(u *storeURI) (localstore.Options, error) {
	local := o.localOptions()
	var root string
	if err := u.takeRoot(&root); err != nil {
		return local, err
	}
	if root != "" {
		local.Root, local.StateDir, local.LogDir, local.StoreDir = root, "", "", ""
	}
	if err := u.takeRules(&local.Rules); err != nil {
		return local, err
	}
	signed := !local.NoSignatures
	err := errors.Join(
		u.takeDir("state", &local.StateDir), u.takeDir("log", &local.LogDir), u.takeDir("real", &local.StoreDir),
		u.takeBool("read-only", &local.ReadOnly), u.takeBool("require-sigs", &signed))
	local.NoSignatures = !signed
	return local, err
}
