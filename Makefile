# Every verb is a verb of tools/dev.py, which also runs where there is no make: python tools/dev.py test
.PHONY: demo test record clean
demo test record clean:
	python3 tools/dev.py $@
