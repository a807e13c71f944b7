package server

import (
	"context"
	"errors"
	"fmt"

	"pix/derivation"
	"pix/protocol"
	"pix/store"
)

// A notPresent says that a store which does not build would have to.
type notPresent struct {
	status  store.BuildStatus
	message string
}

func (e *notPresent) Error() string { return e.message }

// checkPresent is what building comes to in a store that does not build: all is well with
// what is there already. What is not is said in the words of Nix, where it has any.
func (c *conn) checkPresent(ctx context.Context, path derivation.DerivedPath) error {
	switch path := path.(type) {
	case derivation.Opaque:
		valid, err := c.store.IsValidPath(ctx, path.Path)
		if err == nil && !valid {
			err = &notPresent{store.NoSubstituters, fmt.Sprintf("path '%s' is required, but there is no substituter that can build it", path.Path)}
		}
		return err
	case derivation.Built:
		drv, ok := path.Drv.(derivation.Opaque)
		if !ok {
			return &notPresent{store.MiscFailure, fmt.Sprintf("cannot build '%s': this store does not build", path)}
		}
		if err := c.checkPresent(ctx, drv); err != nil {
			return err
		}
		return c.checkOutputs(ctx, drv, path.Outputs)
	}
	return &notPresent{store.MiscFailure, fmt.Sprintf("cannot build '%s'", path)}
}

// checkOutputs returns an error if one of the wanted outputs of a derivation is not valid.
func (c *conn) checkOutputs(ctx context.Context, drv derivation.Opaque, wanted derivation.OutputsSpec) error {
	outputs, err := store.OutputMap(ctx, c.store, drv.Path)
	if err != nil {
		return err
	}
	for name, out := range outputs {
		if !wanted.Contains(name) {
			continue
		}
		valid := false
		if out != "" {
			if valid, err = c.store.IsValidPath(ctx, out); err != nil {
				return err
			}
		}
		if !valid {
			return &notPresent{store.MiscFailure, fmt.Sprintf("cannot build '%s': this store does not build, and its output '%s' is not valid", drv.Path, name)}
		}
	}
	for _, name := range wanted.Names().Slice() {
		if _, known := outputs[name]; !known {
			return &notPresent{store.MiscFailure, fmt.Sprintf("derivation '%s' does not have wanted outputs '%s'", drv.Path, name)}
		}
	}
	return nil
}

// presentResults says of each path whether it is there.
func (c *conn) presentResults(ctx context.Context, paths []derivation.DerivedPath) (*protocol.BuildPathsWithResultsReply, error) {
	reply := new(protocol.BuildPathsWithResultsReply)
	for _, path := range paths {
		err := c.checkPresent(ctx, path)
		var absent *notPresent
		if err != nil && !errors.As(err, &absent) {
			return nil, err
		}
		result := c.result(ctx, path, err)
		if absent != nil {
			result.Status = absent.status
		}
		reply.Results = append(reply.Results, result)
	}
	return reply, nil
}
