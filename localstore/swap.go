package localstore

import "os"

// swapInSteps gives a file the name of another, if there is one, which goes to aside. In between
// there is none.
func swapInSteps(from, to, aside string) error {
	if err := ignoreMissing(os.Rename(to, aside)); err != nil {
		return err
	}
	return os.Rename(from, to)
}
