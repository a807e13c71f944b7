package sandbox

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A View is the view of a program on the files of this machine: all of them, with some directories at other places.
// It does not isolate the program.
type View struct {
	// Dirs are directories of this machine, by the absolute path at which the program sees them. They hide the files
	// that are there.
	Dirs map[string]string
}

// targets returns the paths of v.Dirs, sorted. The error names a path that cannot be one.
func (v *View) targets() ([]string, error) {
	var targets []string
	for target := range v.Dirs {
		if !path.IsAbs(target) || path.Clean(target) != target || target == "/" {
			return nil, fmt.Errorf("'%s' is not a valid place for a directory: it must be a clean absolute path", target)
		}
		targets = append(targets, target)
	}
	slices.Sort(targets)
	for i, t := range targets[min(1, len(targets)):] {
		if strings.HasPrefix(t, targets[i]+"/") {
			return nil, fmt.Errorf("'%s' lies below '%s', which is replaced too", t, targets[i])
		}
	}
	return targets, nil
}
