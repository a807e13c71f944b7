package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"

	"pix/activity"
	"pix/derivation"
	"pix/nixhash"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

var _ store.Builder = (*Conn)(nil)

// BuildPaths makes the paths valid, by building or by substitution. If that fails, the error is
// a [*store.BuildError], which wraps the daemon's [*activity.Error]. The connection is busy
// until the build has ended. Cancelling ctx closes it, and the daemon stops building.
func (c *Conn) BuildPaths(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) error {
	last := &lastLog{next: activity.HandlerOf(ctx)}
	if c.Version() < protocol.MakeVersion(26) {
		ctx = activity.WithHandler(ctx, last)
	}
	_, err := invoke[protocol.Ack](ctx, c, &protocol.BuildPathsRequest{Paths: paths, Mode: mode})
	var daemonErr *activity.Error
	if !errors.As(err, &daemonErr) || errors.Is(err, ErrConnLost) {
		return err
	}
	if last.text != "" {
		err = fmt.Errorf("%w: %s", daemonErr, activity.Plain(last.text))
	}
	return &store.BuildError{Paths: paths, Err: err}
}

// A lastLog records the last log line. Before 1.26 the error of a failed build names only the
// build, and the last log line has the reason.
type lastLog struct {
	next activity.Handler
	text string
}

func (l *lastLog) HandleEvent(e activity.Event) {
	if log, ok := e.(activity.Log); ok {
		l.text = log.Text
	}
	if l.next != nil {
		l.next.HandleEvent(e)
	}
}

// BuildPathsWithResults makes the paths valid, by building or by substitution, and returns a
// result for each, in the given order. The error is not nil only if the daemon could not try.
// Without the setting keep-going, Nix 2.34 returns no result for paths that it gave up because
// another failed.
//
// Before protocol 1.34 the daemon fails with the first path that fails. Then the result of a
// path is Built or Substituted if it has become valid, and AlreadyValid if it was valid before.
// All others have failed, with the daemon's error.
func (c *Conn) BuildPathsWithResults(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	req := &protocol.BuildPathsWithResultsRequest{Paths: paths, Mode: mode}
	if c.params.Check(req.Op()) != nil {
		return c.buildAndCompare(ctx, paths, mode)
	}
	reply, err := invoke[protocol.BuildPathsWithResultsReply](ctx, c, req)
	if err != nil {
		return nil, err
	}
	return inOrder(reply.Results, paths), nil
}

// inOrder sorts results into the order of the paths. A result for another path comes last: a
// daemon may spell a path differently.
func inOrder(results []store.KeyedBuildResult, paths []derivation.DerivedPath) []store.KeyedBuildResult {
	byPath := make(map[string]store.KeyedBuildResult, len(results))
	for _, r := range results {
		byPath[r.Path.String()] = r
	}
	ordered := make([]store.KeyedBuildResult, 0, len(results))
	known := make(map[string]bool, len(paths))
	for _, p := range paths {
		known[p.String()] = true
		if r, ok := byPath[p.String()]; ok {
			ordered = append(ordered, r)
		}
	}
	for _, r := range results {
		if !known[r.Path.String()] {
			ordered = append(ordered, r)
		}
	}
	return ordered
}

// buildAndCompare builds, and derives the results from the paths that are valid before and
// after.
func (c *Conn) buildAndCompare(ctx context.Context, paths []derivation.DerivedPath, mode store.BuildMode) ([]store.KeyedBuildResult, error) {
	before, err := c.pathStates(ctx, paths)
	if err != nil {
		return nil, err
	}
	var failed *store.BuildError
	if err := c.BuildPaths(ctx, paths, mode); err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	after, err := c.pathStates(ctx, paths)
	if err != nil && failed != nil { // the daemon refused the request before any work and hung up
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	results := make([]store.KeyedBuildResult, len(paths))
	for i, p := range paths {
		results[i] = store.KeyedBuildResult{Path: p, BuildResult: store.BuildResult{Outputs: after[i].outputs}}
		r := &results[i].BuildResult
		switch _, built := p.(derivation.Built); {
		case failed != nil && (!after[i].valid || mode == store.BuildCheck):
			r.Status, r.Message, r.Outputs = store.MiscFailure, failed.Err.Error(), nil
		case before[i].valid:
			r.Status = store.AlreadyValid
		case built:
			r.Status = store.Built
		default:
			r.Status = store.Substituted
		}
	}
	return results, nil
}

// A pathState is the state of a path before or after a build.
type pathState struct {
	valid   bool
	outputs map[string]store.Realisation // the wanted and known outputs of a derivation
}

func (c *Conn) pathStates(ctx context.Context, paths []derivation.DerivedPath) ([]pathState, error) {
	looks := make([]pathState, len(paths))
	for i, p := range paths {
		var err error
		if looks[i], err = c.pathState(ctx, p); err != nil {
			return nil, err
		}
	}
	return looks, nil
}

func (c *Conn) pathState(ctx context.Context, p derivation.DerivedPath) (pathState, error) {
	switch p := p.(type) {
	case derivation.Opaque:
		valid, err := c.IsValidPath(ctx, p.Path)
		return pathState{valid: valid}, err
	case derivation.Built:
		if drv, ok := p.Drv.(derivation.Opaque); ok {
			return c.outputState(ctx, drv.Path, p.Outputs)
		}
	}
	return pathState{}, nil
}

// outputState returns the state of some outputs of a derivation.
func (c *Conn) outputState(ctx context.Context, drv storepath.Path, wanted derivation.OutputsSpec) (pathState, error) {
	l := pathState{valid: true}
	if valid, err := c.IsValidPath(ctx, drv); err != nil || !valid {
		return pathState{}, err // the derivation may be substituted later
	}
	outputs, err := c.QueryDerivationOutputMap(ctx, drv)
	if err != nil {
		return pathState{}, err
	}
	l.outputs = make(map[string]store.Realisation)
	for name, path := range outputs {
		if !wanted.All() && !wanted.Names().Has(name) {
			continue
		}
		valid := false
		if path != "" {
			if valid, err = c.IsValidPath(ctx, path); err != nil {
				return pathState{}, err
			}
		}
		if valid {
			l.outputs[name] = store.Realisation{OutPath: path}
		}
		l.valid = l.valid && valid
	}
	return l, nil
}

// BuildDerivation builds a derivation that need not be in the store. Its inputs must be valid
// and listed in its input sources. It must have no input derivations. A daemon accepts
// input-addressed outputs only from trusted users ([*protocol.TrustError]), and before protocol
// 1.24 any outputs. A failed build is a status of the result, not an error. If the result has another
// output path than the derivation, the error is an [*AnswerError].
func (c *Conn) BuildDerivation(ctx context.Context, path storepath.Path, d *derivation.Derivation, mode store.BuildMode) (*store.BuildResult, error) {
	req := &protocol.BuildDerivationRequest{Path: path, Derivation: d, Mode: mode}
	reply, err := invoke[protocol.BuildDerivationReply](ctx, c, req)
	if err != nil {
		return nil, err
	}
	if err := c.checkBuilt(path, d, reply.Result.Outputs); err != nil {
		return nil, err
	}
	return &reply.Result, nil
}

// SubmitOutput submits a path as an output of the build in which this program runs.
// Options.Features must offer the feature. Otherwise the error is [errors.ErrUnsupported].
func (c *Conn) SubmitOutput(ctx context.Context, path derivation.SingleDerivedPath, output string) error {
	_, err := invoke[protocol.Ack](ctx, c, &protocol.SubmitOutputRequest{Path: path, Output: output})
	return err
}

// AddToStoreScanning adds an object during the build in which this program runs. The daemon
// itself scans the contents for references. Options.Features must offer the feature. Otherwise
// the error is [errors.ErrUnsupported].
func (c *Conn) AddToStoreScanning(ctx context.Context, name string, m storepath.Method, a nixhash.Algorithm, contents io.Reader) (*store.PathInfo, error) {
	if err := c.checkMethod(m, a); err != nil {
		return nil, err
	}
	req := &protocol.AddToStoreScanningRequest{Name: name, Method: m, Algorithm: a}
	hash := newContentHash(m, a)
	reply, err := upload[protocol.AddToStoreReply](ctx, c, req, readerBody(hash.reader(contents)))
	if err == nil {
		err = c.checkAdded(protocol.AddToStoreScanning, name, hash, reply.Info.References, &reply.Info)
	}
	if err != nil {
		return nil, err
	}
	return &reply.Info, nil
}
