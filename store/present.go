package store

import (
	"context"
	"errors"
	"fmt"

	"pix/derivation"
)

// PresentResult returns how building a path ends in a store that does not build: all is well with
// what is there already. What is not there is a failure, in the words of Nix where it has any.
// The error is that of the store, if it cannot say what is there, or says that the derivation has no
// such output, which Nix 2.34 takes for a mistake in the question.
func PresentResult(ctx context.Context, s Store, path derivation.DerivedPath) (KeyedBuildResult, error) {
	r := KeyedBuildResult{Path: path, BuildResult: BuildResult{Status: AlreadyValid}}
	absent := func(status BuildStatus, format string, args ...any) (KeyedBuildResult, error) {
		r.Status, r.Message, r.Outputs = status, fmt.Sprintf(format, args...), nil
		return r, nil
	}
	built, ok := path.(derivation.Built)
	if !ok {
		valid, err := s.IsValidPath(ctx, path.Base())
		if err == nil && !valid {
			return absent(NoSubstituters, "path '%s' is required, but there is no substituter that can build it", path.Base())
		}
		return r, err
	}
	drv, ok := built.Drv.(derivation.Opaque)
	if !ok {
		return absent(MiscFailure, "cannot build '%s': this store does not build", path)
	}
	there, err := PresentResult(ctx, s, drv)
	if err != nil {
		return r, err
	}
	if !there.Status.Succeeded() {
		return absent(there.Status, "%s", there.Message)
	}
	outputs, err := OutputMap(ctx, s, drv.Path)
	if err != nil {
		return r, err
	}
	for _, name := range built.Outputs.Names().Slice() {
		if _, known := outputs[name]; !known {
			return r, fmt.Errorf("derivation '%s' does not have output '%s'", drv.Path, name)
		}
	}
	r.Outputs = make(map[string]Realisation)
	for name, out := range outputs {
		if !built.Outputs.Contains(name) {
			continue
		}
		valid := false
		if out != "" {
			if valid, err = s.IsValidPath(ctx, out); err != nil {
				return r, err
			}
		}
		if !valid {
			return absent(MiscFailure, "cannot build '%s': this store does not build, and its output '%s' is not valid", drv.Path, name)
		}
		r.Outputs[name] = Realisation{OutPath: out}
	}
	return r, nil
}

// presentResults returns how building paths ends in a store that does not build.
func presentResults(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) ([]KeyedBuildResult, error) {
	if mode != BuildNormal {
		return nil, unsupported(s, "build")
	}
	results := make([]KeyedBuildResult, len(paths))
	for i, path := range paths {
		var err error
		if results[i], err = PresentResult(ctx, s, path); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// checkPresent returns a [*BuildError] for the first path that would have to be built.
func checkPresent(ctx context.Context, s Store, paths []derivation.DerivedPath, mode BuildMode) error {
	results, err := presentResults(ctx, s, paths, mode)
	if err != nil {
		return err
	}
	for _, r := range results {
		if !r.Status.Succeeded() {
			return &BuildError{Paths: []derivation.DerivedPath{r.Path}, Err: errors.New(r.Message)}
		}
	}
	return nil
}
