//go:build !linux

package nar

import "io"

func (f *rootFolder) list(l *nameList) error {
	for {
		entries, err := f.self.ReadDir(1000)
		for _, e := range entries {
			if err := l.add([]byte(e.Name()), kindOf(e.Type())); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (f *rootFolder) openFile(name string) (openedFile, error) {
	file, err := f.root.Open(name)
	if err != nil {
		return openedFile{}, err
	}
	opened, err := openedFrom(file)
	opened.readerAt = file
	return opened, err
}
