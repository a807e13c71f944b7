package derivation

import "fmt"

// maxDynamicPaths limits the derived paths of one input. Each takes 10 bytes in the text of a derivation, and far
// more in memory.
const maxDynamicPaths = 1 << 16

// DerivedPaths returns the derived paths of the outputs of drv that are used: one for the outputs of drv itself, and one
// for each of its outputs that is a derivation with used outputs. Their names point into the text of the derivation.
//
// It returns an error if outputs are nested deeper than in any text of a derived path, or for more than 65,536 paths.
func (i InputOutputs) DerivedPaths(drv SingleDerivedPath) ([]Built, error) {
	w := dynamicWalk{base: drv}
	err := w.add(drv, i, 0)
	return w.paths, err
}

// A dynamicWalk collects the derived paths of an input.
type dynamicWalk struct {
	base  SingleDerivedPath
	paths []Built
}

func (w *dynamicWalk) add(drv SingleDerivedPath, used InputOutputs, depth int) error {
	if used.Names.Len() > 0 {
		w.paths = append(w.paths, Built{drv, OutputsSpec{names: used.Names}})
	}
	switch {
	case used.Dynamic.Len() == 0:
		return nil
	case depth == maxDerivedPathDepth:
		return fmt.Errorf("the used outputs of '%s' are nested more than %d deep", w.base, maxDerivedPathDepth)
	}
	for output, child := range used.Dynamic.All() {
		if len(w.paths) >= maxDynamicPaths {
			return fmt.Errorf("outputs of more than %d derivations are used that '%s' yields", maxDynamicPaths, w.base)
		}
		if err := w.add(SingleBuilt{drv, output}, child, depth+1); err != nil {
			return err
		}
	}
	return nil
}
