package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pix/derivation"
	"pix/explain"
	"pix/nixhash"
)

// explainArg explains the object that an argument names.
func (a *app) explainArg(ctx context.Context, src *drvSource, arg string, o *explainOptions) (*explain.Explanation, error) {
	n, isName := src.name(arg)
	ext := filepath.Ext(arg)
	switch {
	case o.archive || !isName && !o.signatures && ext == ".nar":
		if err := src.checkFile(arg, isName, "write its archive into a file with 'pix nar-dump', and explain the file"); err != nil {
			return nil, err
		}
		return a.explainArchive(ctx, src, arg, n, isName)
	case o.signatures || !isName && ext == ".narinfo":
		if err := src.checkFile(arg, isName, "name a .narinfo file in it"); err != nil {
			return nil, err
		}
		return a.explainSignatures(ctx, src, arg, n, isName, o)
	case isName && n.hashPart != "":
		return explainDigits(ctx, src, arg, n)
	case isName:
		return explainName(ctx, src, arg, n)
	case arg != "-" && !exists(arg) && ext != ".drv":
		if base, _, outputs, ok := cutOutputs(arg); ok && filepath.Ext(base) == ".drv" && !src.isInStoreDir(arg) {
			return explainFileOutputs(ctx, src, arg, outputs)
		}
		return src.explainHash(arg)
	}
	if err := src.checkFile(arg, false, "add it to a store with 'pix add', and explain the path"); err != nil {
		return nil, err
	}
	e, err := explainDerivation(ctx, src, arg, nil)
	if errors.As(err, new(*derivation.SyntaxError)) && arg != "-" && ext != ".drv" {
		err = fmt.Errorf("%w; 'pix store-path' prints the path that this file would get, and --archive explains an archive", err)
	}
	return e, err
}

// explainFileOutputs explains outputs of a derivation in a file outside of the store.
func explainFileOutputs(ctx context.Context, src *drvSource, arg, outputs string) (*explain.Explanation, error) {
	spec, err := derivation.ParseOutputsSpec(outputs)
	if outputs == "" {
		return nil, &usageError{fmt.Errorf("'%s' names no output", arg)}
	} else if err != nil {
		return nil, &usageError{fmt.Errorf("'%s': %w", arg, err)}
	}
	if spec.All() {
		return explainDerivation(ctx, src, arg, nil)
	}
	return explainDerivation(ctx, src, arg, slices.Collect(spec.Names().All()))
}

// checkFile returns a usage error if an argument names neither a store object nor a file. If its name ends like a file that
// explain reads, a missing file is reported later, when it is opened. For a directory, the error gives advice.
func (src *drvSource) checkFile(arg string, isName bool, advice string) error {
	switch {
	case isName || arg == "-":
		return nil
	case isDir(arg):
		return &usageError{fmt.Errorf("'%s' is a directory: %s", arg, advice)}
	case exists(arg):
		return nil
	}
	switch filepath.Ext(arg) {
	case ".drv", ".nar", ".narinfo":
		return nil
	}
	return src.noFile(arg)
}

// noFile returns the error for an argument that names neither a store object nor a file. If the argument begins like a store
// path, the error says why it is none.
func (src *drvSource) noFile(arg string) error {
	if src.isInStoreDir(arg) {
		if _, err := src.app.names([]string{arg}); err != nil {
			return err
		}
	}
	if _, err := explain.Hash(arg); err == nil {
		return &usageError{fmt.Errorf("'%s' is a hash: name a store path or a file", arg)}
	}
	return &usageError{fmt.Errorf("'%s' is not a store path, and there is no such file", arg)}
}

// isInStoreDir reports whether an argument begins like a store path.
func (src *drvSource) isInStoreDir(arg string) bool {
	dir, err := src.app.dir()
	return err == nil && strings.HasPrefix(arg, string(dir)+"/")
}

// checkDerivation returns a usage error if an argument cannot name a derivation.
func (src *drvSource) checkDerivation(arg string) error {
	_, isName := src.name(arg)
	if base, _, _, ok := cutOutputs(arg); ok && !isName && !src.isInStoreDir(arg) {
		arg = base // a .drv file outside of the store
	}
	return src.checkFile(arg, isName, "name a .drv file in it")
}

// explainHash explains a hash. Its error is about a hash only if the argument begins with an algorithm.
func (src *drvSource) explainHash(arg string) (*explain.Explanation, error) {
	e, err := explain.Hash(arg)
	if err == nil {
		return e, nil
	}
	if src.isInStoreDir(arg) {
		return nil, src.noFile(arg)
	}
	if i := strings.IndexAny(arg, ":-"); i > 0 {
		if algo, noAlgorithm := nixhash.ParseAlgorithm(arg[:i]); noAlgorithm == nil {
			return nil, &usageError{fmt.Errorf("%w; %s", err, digestLengths(algo))}
		}
	}
	return nil, &usageError{fmt.Errorf("'%s' is neither a store path nor a hash, and there is no such file", arg)}
}

// digestLengths describes the lengths of the digests of an algorithm, in characters.
func digestLengths(a nixhash.Algorithm) string {
	h, err := nixhash.FromDigest(a, make([]byte, a.Size()))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("a digest of %s has %d characters in base 16, %d in base 32 and %d in base 64",
		a, len(h.Base16()), len(h.Nix32()), len(h.Base64()))
}

// isDir reports whether an argument names a directory.
func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
