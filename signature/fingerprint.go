package signature

import (
	"fmt"
	"slices"
	"strconv"

	"pix/nixhash"
	"pix/storepath"
)

// A FingerprintError says why there is no fingerprint of a path or a realisation.
type FingerprintError struct {
	Path   storepath.Path
	Reason string
}

func (e *FingerprintError) Error() string {
	return fmt.Sprintf("the fingerprint of '%s' cannot be computed: %s", e.Path, e.Reason)
}

// PathFingerprint returns what is signed of a store path: its name, the hash and size of
// its archive, and its references, which may come in any order and more than once.
//
// The error is a [*FingerprintError] if the size or the hash is not known, and if a path is
// not valid or lies in another store directory than the rest.
func PathFingerprint(path storepath.Path, narHash nixhash.Hash, narSize uint64, references []storepath.Path) ([]byte, error) {
	if narSize == 0 {
		return nil, &FingerprintError{path, "its size is not known"}
	}
	if narHash.IsZero() {
		return nil, &FingerprintError{path, "its hash is not known"}
	}
	dir := path.Dir()
	for _, p := range append([]storepath.Path{path}, references...) {
		if _, err := dir.Parse(string(p)); err != nil {
			return nil, &FingerprintError{path, err.Error()}
		}
	}
	if !slices.IsSorted(references) {
		references = slices.Sorted(slices.Values(references))
	}

	b := make([]byte, 0, 128+(len(path)+1)*(1+len(references)))
	b = append(b, "1;"...)
	b = append(b, path...)
	b = append(b, ';')
	b = append(b, narHash.WithNix32()...)
	b = append(b, ';')
	b = strconv.AppendUint(b, narSize, 10)
	separator := byte(';')
	for i, p := range references {
		if i > 0 && p == references[i-1] {
			continue
		}
		b = append(b, separator)
		b = append(b, p...)
		separator = ','
	}
	if len(references) == 0 {
		b = append(b, separator)
	}
	return b, nil
}

// RealisationFingerprint returns what Nix 2.36 signs of a realisation: that the output of
// that name of the derivation drv is outPath.
//
// The error is a [*FingerprintError] if a path or the name is not valid, if drv is no
// derivation, and if the two paths lie in different store directories.
func RealisationFingerprint(drv storepath.Path, output string, outPath storepath.Path) ([]byte, error) {
	if err := checkRealisation(outPath.Dir(), output, drv, outPath); err != nil {
		return nil, err
	}
	if !drv.IsDerivation() {
		return nil, &FingerprintError{drv, "it is no derivation"}
	}
	// Nothing in these words would have to be escaped.
	return fmt.Appendf(nil, `{"key":{"drvPath":"%s","outputName":"%s"},"value":{"outPath":"%s"}}`,
		drv.Base(), output, outPath.Base()), nil
}

// OldRealisationFingerprint returns what Nix 2.34 signs of a realisation, in which the
// modulo hash stands for the derivation. The error is a [*FingerprintError] as for
// [RealisationFingerprint], and if the hash is zero.
func OldRealisationFingerprint(drvHash nixhash.Hash, output string, outPath storepath.Path) ([]byte, error) {
	if err := checkRealisation(outPath.Dir(), output, outPath); err != nil {
		return nil, err
	}
	if drvHash.IsZero() {
		return nil, &FingerprintError{outPath, "the hash of its derivation is not known"}
	}
	return fmt.Appendf(nil, `{"dependentRealisations":{},"id":"%s!%s","outPath":"%s"}`,
		drvHash.WithBase16(), output, outPath.Base()), nil
}

// checkRealisation checks what a realisation is made of.
func checkRealisation(dir storepath.Dir, output string, paths ...storepath.Path) error {
	if err := storepath.CheckName(output); err != nil {
		return &FingerprintError{paths[0], "its output: " + err.Error()}
	}
	for _, p := range paths {
		if _, err := dir.Parse(string(p)); err != nil {
			return &FingerprintError{p, err.Error()}
		}
	}
	return nil
}
