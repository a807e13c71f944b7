package builder

import (
	"pix/derivation"
	"pix/store"
	"pix/storepath"
)

// A build is one derivation that is being built.
type build struct {
	store   Store
	opts    *Options
	req     *Request
	options *derivation.Options // of the derivation
	kind    derivation.OutputKind

	// closure has the paths of the input closure.
	closure map[storepath.Path]bool

	// outputs are the outputs of the derivation, sorted by name.
	outputs []*output

	// root is the directory that the builder sees as /; "" without a sandbox.
	root string

	// owner are the user and the group, or the first ones of a range, that the files of the outputs must belong to.
	owner ids

	outputState
}

// An output is one output of a build.
type output struct {
	name    string
	path    storepath.Path // where it belongs; "" if that depends on the contents
	scratch storepath.Path // the path that the builder gets to see
	valid   bool           // path was valid before the build
}

// ids are users and groups of this machine.
type ids struct{ uid, gid, count int }

// A Failure says why a build failed, with the status and the text of Nix.
type Failure struct {
	Status  store.BuildStatus
	Message string

	// HashMismatch says that the contents of a fixed output have another hash than the derivation demands. Status is
	// [store.OutputRejected] then.
	HashMismatch bool
}

func (f *Failure) Error() string { return f.Message }
