//go:build !unix

package uploads

import (
	"fmt"
	"os"
)

// lock reports an error if the file exists: without locks of files, it cannot find out whether the process still runs
// that has created the file.
func lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return nil, fmt.Errorf("%w, or was killed: if none runs, delete '%s'", lockedError(name), name)
	}
	if err != nil {
		return nil, err
	}
	return func() error {
		f.Close()
		return os.Remove(name)
	}, nil
}
