package signature

import (
	"fmt"
	"slices"
	"strconv"

	"pix/nixhash"
	"pix/storepath"
)

// A FingerprintError reports why the fingerprint of a path or realisation cannot be computed.
type FingerprintError struct {
	Path   storepath.Path
	Reason string
}

func (e *FingerprintError) Error() string {
	return fmt.Sprintf("the fingerprint of '%s' cannot be computed: %s", e.Path, e.Reason)
}

// PathFingerprint returns the text that is signed for a store path: the path, the hash and
// size of its archive, and its references. references may be unsorted and may contain
// duplicates.
//
// It returns a [*FingerprintError] if the size or the hash is zero, if a path is not valid,
// or if a reference lies in another store directory.
func PathFingerprint(path storepath.Path, narHash nixhash.Hash, narSize uint64, references []storepath.Path) ([]byte, error) {
	if narSize == 0 {
		return nil, &FingerprintError{path, "its size is unknown"}
	}
	if narHash.IsZero() {
		return nil, &FingerprintError{path, "its hash is unknown"}
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

// RealisationFingerprint returns the text that Nix 2.36 signs for a realisation. It states
// that outPath is the path of that output of the derivation drv.
//
// It returns a [*FingerprintError] if a path or the output name is not valid, if drv is not a
// derivation, or if the two paths lie in different store directories.
func RealisationFingerprint(drv storepath.Path, output string, outPath storepath.Path) ([]byte, error) {
	if err := checkRealisation(outPath.Dir(), output, drv, outPath); err != nil {
		return nil, err
	}
	if !drv.IsDerivation() {
		return nil, &FingerprintError{drv, "it is not a derivation"}
	}
	// No character that is valid in these names needs escaping in JSON.
	return fmt.Appendf(nil, `{"key":{"drvPath":"%s","outputName":"%s"},"value":{"outPath":"%s"}}`,
		drv.Base(), output, outPath.Base()), nil
}

// OldRealisationFingerprint returns the text that Nix 2.34 signs for a realisation, which
// identifies the derivation by its modulo hash. It returns a [*FingerprintError] as
// [RealisationFingerprint] does, and also if the hash is zero.
func OldRealisationFingerprint(drvHash nixhash.Hash, output string, outPath storepath.Path) ([]byte, error) {
	if err := checkRealisation(outPath.Dir(), output, outPath); err != nil {
		return nil, err
	}
	if drvHash.IsZero() {
		return nil, &FingerprintError{outPath, "the hash of its derivation is unknown"}
	}
	return fmt.Appendf(nil, `{"dependentRealisations":{},"id":"%s!%s","outPath":"%s"}`,
		drvHash.WithBase16(), output, outPath.Base()), nil
}

// checkRealisation checks the output name, and that all paths are valid and lie in dir.
func checkRealisation(dir storepath.Dir, output string, paths ...storepath.Path) error {
	if err := storepath.CheckName(output); err != nil {
		return &FingerprintError{paths[0], "its output name: " + err.Error()}
	}
	for _, p := range paths {
		if _, err := dir.Parse(string(p)); err != nil {
			return &FingerprintError{p, err.Error()}
		}
	}
	return nil
}
