package closure

import (
	"slices"

	"pix/derivation"
	"pix/storepath"
)

// Affecting returns the derivations of a closure that affect the output paths of one of them: the derivation itself,
// and those whose modulo hash enters its hash ([derivation.Derivation.HashModulo]). If one of them changes, the
// output paths change. The others can change without a rebuild: they are only needed to build a fixed output, or
// none of their outputs is used. The result is sorted.
//
// The error is a [*derivation.MissingInputError] for a derivation that is not in the closure, or an
// [*derivation.InvalidError].
func Affecting(drvs *derivation.Closure, drv storepath.Path) ([]storepath.Path, error) {
	seen := map[storepath.Path]bool{drv: true}
	affecting := []storepath.Path{drv}
	for i := 0; i < len(affecting); i++ {
		d, ok := drvs.Get(affecting[i])
		if !ok {
			return nil, &derivation.MissingInputError{Input: affecting[i]}
		}
		kind, err := d.Kind()
		if err != nil {
			return nil, err
		}
		if kind == derivation.Fixed {
			continue // its hash is computed from the hash of its contents
		}
		for input, used := range d.InputDerivations.All() {
			if used.Names.Len() > 0 && !seen[input] {
				seen[input] = true
				affecting = append(affecting, input)
			}
		}
	}
	slices.Sort(affecting)
	return affecting, nil
}
