package monitor

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// CreateRecorder creates a recording, or replaces one. Only the user can read it. The path may also
// name a pipe or a device, such as /dev/stdout.
func CreateRecorder(path string) (*Recorder, error) {
	f, err := createPrivate(path)
	if err != nil {
		return nil, err
	}
	r := &Recorder{file: f}
	if err := r.prepare(); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// createPrivate opens a file for a recording. In a directory such as /tmp, another user may have
// created the file, opened it, or put a link there. So it replaces a file by a new one, and does not
// follow a link to a file.
func createPrivate(path string) (*os.File, error) {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Type() == fs.ModeSymlink {
		if info, err = os.Stat(path); err == nil && info.Mode().IsRegular() {
			return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("it is a symbolic link to a file")}
		}
	}
	if err == nil && !info.Mode().IsRegular() {
		return os.OpenFile(path, os.O_WRONLY, 0)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".pix-recording-") // its mode is 0600
	if failed, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, &fs.PathError{Op: "create", Path: path, Err: failed.Err} // the caller does not know the temporary name
	} else if err != nil {
		return nil, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return f, nil
}
