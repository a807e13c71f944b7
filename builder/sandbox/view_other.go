//go:build !linux

package sandbox

import (
	"errors"
	"os/exec"
)

// Command returns [errors.ErrUnsupported]: only Linux has mount namespaces.
func (v *View) Command(file string, args ...string) (*exec.Cmd, error) {
	return nil, errors.ErrUnsupported
}
