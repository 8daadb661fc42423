;; Blocks whatever comes first in the batch; the rest goes direct. The host must refuse it: the same row is answered
;; differently alone, shuffled and cut.
(func $describe (param $settings i32) (param $settings-length i32) (result i32)
  (call $described-by-name))

(func $decide (param $batch i32) (param $index i32) (param $decision i32)
  (call $put-choice (local.get $decision)
    (select (global.get $choice=direct) (global.get $choice=blocked) (local.get $index))))
