package nar

import "os"

// A rootFolder is a directory of the file system. Everything in it is opened
// relative to it, so that renaming a directory above does not lead elsewhere.
type rootFolder struct {
	root *os.Root
	self *os.File // the same directory, for reading its names
}

func openRootFolder(root *os.Root, err error) (folder, error) {
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &rootFolder{root, self}, nil
}

func (f *rootFolder) openFolder(name string) (folder, error) {
	return openRootFolder(f.root.OpenRoot(name))
}

func (f *rootFolder) readLink(name string) (string, error) { return f.root.Readlink(name) }

func (f *rootFolder) close() {
	f.self.Close()
	f.root.Close()
}

// statKind asks what a name is, where the directory itself does not say.
func (f *rootFolder) statKind(name string) (Kind, error) {
	info, err := f.root.Lstat(name)
	if err != nil {
		return 0, err
	}
	return kindOf(info.Mode()), nil
}
