package daemon

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"pix/derivation"
	"pix/nixbase32"
	"pix/protocol"
	"pix/store"
	"pix/storepath"
)

// IsValidPath reports whether a path is valid.
func (c *Conn) IsValidPath(ctx context.Context, path storepath.Path) (bool, error) {
	reply, err := invoke[protocol.IsValidPathReply](ctx, c, &protocol.IsValidPathRequest{Path: path})
	return reply.Valid, err
}

// QueryValidPaths returns the valid paths among the given ones, sorted and without duplicates.
// With substitute, the daemon first tries to substitute the others. Before protocol 1.27 this
// fails with [errors.ErrUnsupported].
func (c *Conn) QueryValidPaths(ctx context.Context, paths []storepath.Path, substitute bool) ([]storepath.Path, error) {
	reply, err := invoke[protocol.PathsReply](ctx, c, &protocol.QueryValidPathsRequest{Paths: paths, Substitute: substitute})
	if err == nil {
		err = checkAmong(protocol.QueryValidPaths, paths, reply.Paths)
	}
	if err != nil {
		return nil, err
	}
	return reply.Paths, nil
}

// QueryAllValidPaths returns all valid paths, sorted.
func (c *Conn) QueryAllValidPaths(ctx context.Context) ([]storepath.Path, error) {
	reply, err := invoke[protocol.PathsReply](ctx, c, &protocol.QueryAllValidPathsRequest{})
	return reply.Paths, err
}

// QueryPathInfo returns the path info of a path. The error is a [*store.NotFoundError] if the
// path is not valid.
func (c *Conn) QueryPathInfo(ctx context.Context, path storepath.Path) (*store.PathInfo, error) {
	reply, err := invoke[protocol.QueryPathInfoReply](ctx, c, &protocol.QueryPathInfoRequest{Path: path})
	if err != nil {
		return nil, err
	}
	return completeInfo(path, reply.Info)
}

// completeInfo adds the path to a received path info. nil means that the path is not valid.
func completeInfo(path storepath.Path, info *store.PathInfo) (*store.PathInfo, error) {
	if info == nil {
		return nil, &store.NotFoundError{Path: path}
	}
	info.Path = path
	return info, nil
}

// QueryReferrers returns the valid paths that refer to a path, sorted. The path itself need not
// be valid.
func (c *Conn) QueryReferrers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	reply, err := invoke[protocol.PathsReply](ctx, c, &protocol.QueryReferrersRequest{Path: path})
	return reply.Paths, err
}

// QueryValidDerivers returns the valid derivations that have a path as an output, sorted.
func (c *Conn) QueryValidDerivers(ctx context.Context, path storepath.Path) ([]storepath.Path, error) {
	reply, err := invoke[protocol.PathsReply](ctx, c, &protocol.QueryValidDeriversRequest{Path: path})
	return reply.Paths, err
}

// QueryDeriver returns the deriver of a valid path, or "" if it is unknown.
// [Conn.QueryPathInfo] returns that and more.
func (c *Conn) QueryDeriver(ctx context.Context, path storepath.Path) (storepath.Path, error) {
	reply, err := invoke[protocol.OptionalPathReply](ctx, c, &protocol.QueryDeriverRequest{Path: path})
	return reply.Path, err
}

// QueryPathFromHashPart returns the valid path with a hash part of [storepath.HashPartLen]
// characters. If there is none, the error is a [*store.NotFoundError] without a path.
func (c *Conn) QueryPathFromHashPart(ctx context.Context, hashPart string) (storepath.Path, error) {
	if err := checkHashPart(hashPart); err != nil {
		return "", err
	}
	reply, err := invoke[protocol.OptionalPathReply](ctx, c, &protocol.QueryPathFromHashPartRequest{HashPart: hashPart})
	switch {
	case err != nil:
	case reply.Path == "":
		err = &store.NotFoundError{}
	case reply.Path.HashPart() != hashPart:
		err = &AnswerError{Op: protocol.QueryPathFromHashPart, Got: string(reply.Path), Want: string(c.Dir()) + "/" + hashPart + "-…"}
	}
	if err != nil {
		return "", err
	}
	return reply.Path, nil
}

// checkHashPart returns an error for an invalid hash part. Nix would search for paths that
// begin with it.
func checkHashPart(s string) error {
	if len(s) != storepath.HashPartLen {
		return fmt.Errorf("the hash part %q does not have %d characters", s, storepath.HashPartLen)
	}
	if _, err := nixbase32.DecodeString(s); err != nil {
		return fmt.Errorf("the hash part %q: %w", s, err)
	}
	return nil
}

// QueryDerivationOutputMap returns the outputs of a derivation by name. The path of an output
// is "" if it is not known yet. The error is an [*activity.Error] if the derivation is not
// valid.
func (c *Conn) QueryDerivationOutputMap(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	req := &protocol.QueryDerivationOutputMapRequest{Path: drv}
	if c.params.Check(req.Op()) != nil {
		return c.outputsByName(ctx, drv)
	}
	reply, err := invoke[protocol.QueryDerivationOutputMapReply](ctx, c, req)
	return reply.Outputs, err
}

// QueryDerivationOutputs returns the output paths of a derivation, sorted.
// [Conn.QueryDerivationOutputMap] returns that and more.
func (c *Conn) QueryDerivationOutputs(ctx context.Context, drv storepath.Path) ([]storepath.Path, error) {
	reply, err := invoke[protocol.PathsReply](ctx, c, &protocol.QueryDerivationOutputsRequest{Path: drv})
	return reply.Paths, err
}

// QueryDerivationOutputNames returns the output names of a derivation, sorted.
// [Conn.QueryDerivationOutputMap] returns that and more.
func (c *Conn) QueryDerivationOutputNames(ctx context.Context, drv storepath.Path) ([]string, error) {
	reply, err := invoke[protocol.QueryDerivationOutputNamesReply](ctx, c, &protocol.QueryDerivationOutputNamesRequest{Path: drv})
	return reply.Names, err
}

// outputsByName queries names and paths separately, for a daemon before 1.22. It matches them
// by the name in each path.
func (c *Conn) outputsByName(ctx context.Context, drv storepath.Path) (map[string]storepath.Path, error) {
	names, err := c.QueryDerivationOutputNames(ctx, drv)
	if err != nil {
		return nil, err
	}
	paths, err := c.QueryDerivationOutputs(ctx, drv)
	if err != nil {
		return nil, err
	}
	drvName := strings.TrimSuffix(drv.Name(), storepath.DerivationExt)
	outputs := make(map[string]storepath.Path, len(names))
	for _, name := range names {
		for _, path := range paths {
			if path.Name() == storepath.OutputName(drvName, name) {
				outputs[name] = path
			}
		}
	}
	if len(outputs) != len(names) || len(outputs) != len(paths) {
		return nil, fmt.Errorf("the daemon returned the outputs %q of '%s', which do not match the paths %q", names, drv, paths)
	}
	return outputs, nil
}

// QuerySubstitutablePaths returns the paths that a substituter has, sorted.
func (c *Conn) QuerySubstitutablePaths(ctx context.Context, paths []storepath.Path) ([]storepath.Path, error) {
	reply, err := invoke[protocol.PathsReply](ctx, c, &protocol.QuerySubstitutablePathsRequest{Paths: paths})
	if err == nil {
		err = checkAmong(protocol.QuerySubstitutablePaths, paths, reply.Paths)
	}
	if err != nil {
		return nil, err
	}
	return reply.Paths, nil
}

// QuerySubstitutablePathInfo returns a substituter's info about a path. The error is a
// [*store.NotFoundError] if no substituter has it.
func (c *Conn) QuerySubstitutablePathInfo(ctx context.Context, path storepath.Path) (*store.SubstitutableInfo, error) {
	reply, err := invoke[protocol.QuerySubstitutablePathInfoReply](ctx, c, &protocol.QuerySubstitutablePathInfoRequest{Path: path})
	if err != nil {
		return nil, err
	}
	if reply.Info == nil {
		return nil, &store.NotFoundError{Path: path}
	}
	reply.Info.Path = path
	return reply.Info, nil
}

// QuerySubstitutablePathInfos returns the substituters' infos about paths, sorted by path,
// without the paths that no substituter has. If its content address is given, a path may also
// be found in a substituter with another store directory. Before protocol 1.22 a content
// address fails with [errors.ErrUnsupported].
func (c *Conn) QuerySubstitutablePathInfos(ctx context.Context, paths map[storepath.Path]storepath.ContentAddress) ([]store.SubstitutableInfo, error) {
	reply, err := invoke[protocol.QuerySubstitutablePathInfosReply](ctx, c, &protocol.QuerySubstitutablePathInfosRequest{Paths: paths})
	if err != nil {
		return nil, err
	}
	for _, info := range reply.Infos {
		if _, asked := paths[info.Path]; !asked {
			return nil, &AnswerError{Op: protocol.QuerySubstitutablePathInfos, Got: string(info.Path)}
		}
	}
	sort.Slice(reply.Infos, func(i, j int) bool { return reply.Infos[i].Path < reply.Infos[j].Path })
	return reply.Infos, nil
}

// QueryMissing returns what the daemon would build and substitute to make paths valid. It needs
// protocol 1.19.
func (c *Conn) QueryMissing(ctx context.Context, paths []derivation.DerivedPath) (*store.Missing, error) {
	reply, err := invoke[protocol.QueryMissingReply](ctx, c, &protocol.QueryMissingRequest{Paths: paths})
	if err != nil {
		return nil, err
	}
	return &reply.Missing, nil
}

// EnsurePath substitutes a path if it is not valid. The error is an [*activity.Error] if no
// substituter has it.
func (c *Conn) EnsurePath(ctx context.Context, path storepath.Path) error {
	_, err := invoke[protocol.Ack](ctx, c, &protocol.EnsurePathRequest{Path: path})
	return err
}

// QueryRealisation returns the path of an output of a derivation. The error is
// [store.ErrNotFound] if the daemon does not know it, and [errors.ErrUnsupported] before
// protocol 1.31.
//
// A daemon with the feature [protocol.RealisationWithPath] needs the path of the derivation,
// which must be resolved. Other daemons need its hash: see [store.DrvOutput]. If it is missing,
// the error is a [*store.UnnamedOutputError]. [store.QueryRealisation] computes a missing hash.
func (c *Conn) QueryRealisation(ctx context.Context, output store.DrvOutput) (*store.Realisation, error) {
	if err := c.checkOutput(output); err != nil {
		return nil, err
	}
	reply, err := invoke[protocol.QueryRealisationReply](ctx, c, &protocol.QueryRealisationRequest{ID: output})
	if err != nil {
		return nil, err
	}
	if reply.Realisation == nil {
		return nil, &noRealisation{output}
	}
	if err := checkRealisation(output, reply.Realisation.ID); err != nil {
		return nil, err
	}
	return &reply.Realisation.Realisation, nil
}

// checkOutput returns an error if an output lacks the path or the hash by which the daemon
// identifies its derivation.
func (c *Conn) checkOutput(id store.DrvOutput) error {
	switch byPath := c.params.Features.Has(protocol.RealisationWithPath); {
	case byPath && id.Path == "":
		return &store.UnnamedOutputError{Output: id.Output, Lacks: "path"}
	case !byPath && id.Hash.IsZero() && c.params.Check(protocol.QueryRealisation) == nil:
		return &store.UnnamedOutputError{Output: id.Output, Lacks: "hash"}
	}
	return nil
}

// A noRealisation reports that the path of an output is unknown. It matches
// [store.ErrNotFound].
type noRealisation struct{ output store.DrvOutput }

func (e *noRealisation) Error() string {
	drv := string(e.output.Path)
	if drv == "" {
		drv = e.output.Hash.WithBase16()
	}
	return fmt.Sprintf("the path of output %s of '%s' is not known", e.output.Output, drv)
}

// Is reports whether target is [store.ErrNotFound].
func (e *noRealisation) Is(target error) bool { return target == store.ErrNotFound }

// RegisterDrvOutput registers the path of an output of a derivation. See
// [Conn.QueryRealisation] for the identification of outputs and the errors.
func (c *Conn) RegisterDrvOutput(ctx context.Context, r store.KeyedRealisation) error {
	if err := c.checkOutput(r.ID); err != nil {
		return err
	}
	_, err := invoke[protocol.None](ctx, c, &protocol.RegisterDrvOutputRequest{Realisation: r})
	return err
}
