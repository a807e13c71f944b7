printf '%s-%05d|%x\n' a 42 255 b 1 2
printf '%b' 'a\tb\n'; printf '[%5s][%-5s][%.2s]\n' abc abc abc
printf 'plain\n'; printf '%o %c %%\n' 8 xyz
