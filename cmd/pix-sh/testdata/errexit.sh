( set -e; false; echo no ); echo $?
( set -e; if (false; true); then echo cond; fi; false || echo or; ! true; echo end )
set -e; x=$(false); echo no
