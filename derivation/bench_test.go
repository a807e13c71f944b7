package derivation_test

import (
	"testing"

	"pix/derivation"
)

// texts returns the derivations of a corpus and their total size in bytes.
func texts(b *testing.B, name string) (all []string, size int64) {
	for _, text := range files(b, corpus(b, name)) {
		all = append(all, text)
		size += int64(len(text))
	}
	return all, size
}

func BenchmarkParse(b *testing.B) {
	for _, name := range corpora[:3] {
		b.Run(name, func(b *testing.B) {
			all, size := texts(b, name)
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				for _, text := range all {
					if _, err := derivation.Parse(text); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkParseAndPrint(b *testing.B) {
	for _, name := range corpora[:3] {
		b.Run(name, func(b *testing.B) {
			all, size := texts(b, name)
			b.SetBytes(size)
			b.ReportAllocs()
			var printed []byte
			for b.Loop() {
				for _, text := range all {
					d, err := derivation.Parse(text)
					if err != nil {
						b.Fatal(err)
					}
					printed = d.AppendATerm(printed[:0])
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	dir := derivation.Directory(corpus(b, "corepkgs-texlive"))
	names, err := dir.Files()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := derivation.Verify(b.Context(), dir, names, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(names)*b.N)/b.Elapsed().Seconds(), "derivations/s")
}

func BenchmarkPrint(b *testing.B) {
	for _, name := range corpora[:3] {
		b.Run(name, func(b *testing.B) {
			all, size := texts(b, name)
			var drvs []*derivation.Derivation
			for _, text := range all {
				d, err := derivation.Parse(text)
				if err != nil {
					b.Fatal(err)
				}
				drvs = append(drvs, d)
			}
			b.SetBytes(size)
			b.ReportAllocs()
			var printed []byte
			for b.Loop() {
				for _, d := range drvs {
					printed = d.AppendATerm(printed[:0])
				}
			}
		})
	}
}
